"""
What a table is asked before it is decided how to treat it: one bounded look at both ends of its key, as one line.

Pure: the statement, and what its answer means. `source` asks it of several
tables at once; `watermarks` judges what is found. No value of a row is in an
answer, but for the lowest and the highest key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arrowetl import limits
from arrowetl.model import Column, Table
from arrowetl.sql.names import mysql_literal, mysql_name, mysql_table

# Before this no stamp was written by a computer: it stands for none, as 0001-01-01 does in OpenDental.
_FIRST_STAMP = "'1971-01-01'"
_NUMBERS_PER_COLUMN = 9


@dataclass(frozen=True, slots=True)
class Stamps:
    """What the sample says of a column that holds times."""

    column: str
    missing: float
    """Share of the sample that is NULL."""
    unset: float
    """Share that is a date which stands for none."""
    future: float
    """Share that is yet to come, by the server's clock and a day."""
    correlation: float | None
    """With the key, -1 to 1; None where either does not vary."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What one look at a table found."""

    rows: int | None
    """All there are, where they were counted."""
    sampled: int
    lowest: int | None
    """The integer key's."""
    highest: int | None
    widest: int
    """Bytes of the longest row of the sample, in what may be long."""
    stamps: tuple[Stamps, ...]


def probe(database: str, table: Table, columns: Sequence[Column]) -> str:
    """
    The look at a table: its name, and numbers with blanks between.

    Args:
        columns: of them, those that hold times.
    """
    counted = f"(SELECT COUNT(*) FROM {mysql_table(database, table.name)})" if is_counted(table) else "'-'"
    key = table.integer_key
    numbers = [counted, "COUNT(*)", *(("MIN(k)", "MAX(k)") if key else ("'-'", "'-'")), "COALESCE(MAX(w), 0)"]
    for number in range(len(columns)):
        c, y = f"c{number}", f"y{number}"
        x = f"IF({y} IS NULL, NULL, k * 1e0)" if key else "NULL"
        numbers += [
            f"SUM({c} IS NULL)", f"SUM({c} < {_FIRST_STAMP})", f"SUM({c} > NOW() + INTERVAL 1 DAY)",
            f"COUNT({y})", f"SUM({x})", f"SUM({y})", f"SUM({x} * {y})", f"SUM({x} * {x})", f"SUM({y} * {y})",
        ]  # fmt: skip
    told = ", ".join(f"COALESCE({number}, '-')" for number in numbers)
    return (
        f"SELECT {mysql_literal(table.name)}, CONCAT_WS(' ', {told}) FROM ({_sample(database, table, columns)}) sample"
    )


def is_counted(table: Table) -> bool:
    """Whether the catalog's number of rows is an estimate, and counting them costs little."""
    return table.engine != "MyISAM" and table.data_bytes <= limits.counted_bytes_max


def _sample(database: str, table: Table, columns: Sequence[Column]) -> str:
    """Rows at both ends of the key, as many as are read in no time; of a table without one, some."""
    rows = max(1, min(limits.probe_rows, limits.probe_bytes // max(table.row_bytes, 1)) // 2)
    key = table.integer_key
    long = [c.name for c in table.columns if c.data_type.endswith(("text", "blob", "char", "binary"))]
    width = " + ".join(f"COALESCE(LENGTH({mysql_name(name)}), 0)" for name in long) or "0"
    parts = [f"{mysql_name(key)} AS k" if key else "0 AS k", f"{width} AS w"]
    for number, column in enumerate(columns):
        name = mysql_name(column.name)
        # Seconds of some year nearby, so that their squares are still told apart.
        seconds = f"IF({name} >= {_FIRST_STAMP}, TO_SECONDS({name}) - 6.3e10, NULL)"
        parts += [f"{name} AS c{number}", f"{seconds} AS y{number}"]
    selected = f"SELECT {', '.join(parts)} FROM {mysql_table(database, table.name)}"
    if key is None or table.rows <= rows:
        return f"{selected} LIMIT {2 * rows}"
    order = mysql_name(key)
    return f"({selected} ORDER BY {order} LIMIT {rows}) UNION ALL ({selected} ORDER BY {order} DESC LIMIT {rows})"


def probed(columns: Sequence[Column], answer: str) -> Probed:
    """What an answer to `probe` says."""
    numbers = [None if word == "-" else word for word in answer.split(" ")]
    rows, sampled, lowest, highest, widest = (None if word is None else int(word) for word in numbers[:5])
    stamps = []
    for number, column in enumerate(columns):
        start = 5 + number * _NUMBERS_PER_COLUMN
        stamps.append(
            _stamps(column.name, sampled or 0, [float(w or 0) for w in numbers[start:][:_NUMBERS_PER_COLUMN]])
        )
    return Probed(rows, sampled or 0, lowest, highest, widest or 0, tuple(stamps))


def _stamps(column: str, sampled: int, numbers: Sequence[float]) -> Stamps:
    missing, unset, future, n, x, y, xy, xx, yy = numbers
    rows = max(sampled, 1)
    spread = (n * xx - x * x) * (n * yy - y * y)
    correlation = max(-1.0, min(1.0, (n * xy - x * y) / spread**0.5)) if n > 1 and spread > 0 else None
    return Stamps(column, missing / rows, unset / rows, future / rows, correlation)
