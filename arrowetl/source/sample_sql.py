"""
What is asked of a table before its strategy is chosen: one bounded look at its first and last rows, as one line.

Pure: the statement, and what its answer means. `reader` asks it; `load_strategy`
judges what is found. No value of a row is in an answer, but for the lowest and
the highest key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arrowetl import limits
from arrowetl.model.plan import Column, Table
from arrowetl.sql import mysql_literal, mysql_name, mysql_table
from arrowetl.types.mysql_types import varies_in_length

# Before this no computer wrote a timestamp: it is a placeholder, as 0001-01-01 is in OpenDental.
_FIRST_TIMESTAMP = "'1971-01-01'"
_NUMBERS_PER_COLUMN = 9


@dataclass(frozen=True, slots=True)
class ColumnSample:
    """What the sample says of a column that holds times."""

    column: str
    missing: float
    """Share of the sample that is NULL."""
    unset: float
    """Share that is a placeholder date."""
    future: float
    """Share that is yet to come, by the server's clock and a day."""
    correlation: float | None
    """With the key, -1 to 1; None where either does not vary."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look at a table found."""

    rows: int | None
    """All there are, where they were counted."""
    sampled: int
    lowest: int | None
    """The integer key's."""
    highest: int | None
    widest: int
    """Bytes of the longest row of the sample, in what may be long."""
    columns: tuple[ColumnSample, ...]


def times(table: Table, left_out: frozenset[str] = frozenset()) -> list[Column]:
    """The columns that hold timestamps, but for those that are not looked at."""
    return [c for c in table.columns if c.data_type in ("timestamp", "datetime") and c.name not in left_out]


def probe(database: str, table: Table, left_out: frozenset[str] = frozenset()) -> str:
    """The look at a table: one text, of numbers with blanks between."""
    counted = f"(SELECT COUNT(*) FROM {mysql_table(database, table.name)})" if is_counted(table) else "'-'"
    key = table.integer_key
    numbers = [counted, "COUNT(*)", *(("MIN(k)", "MAX(k)") if key else ("'-'", "'-'")), "COALESCE(MAX(w), 0)"]
    for number in range(len(times(table, left_out))):
        c, y = f"c{number}", f"y{number}"
        x = f"IF({y} IS NULL, NULL, k * 1e0)" if key else "NULL"
        numbers += [
            f"SUM({c} IS NULL)", f"SUM({c} < {_FIRST_TIMESTAMP})", f"SUM({c} > NOW() + INTERVAL 1 DAY)",
            f"COUNT({y})", f"SUM({x})", f"SUM({y})", f"SUM({x} * {y})", f"SUM({x} * {x})", f"SUM({y} * {y})",
        ]  # fmt: skip
    text = ", ".join(f"COALESCE({number}, '-')" for number in numbers)
    return f"SELECT CONCAT_WS(' ', {text}) FROM ({_sample(database, table, left_out)}) sample"


def is_counted(table: Table) -> bool:
    """Whether the catalog's number of rows is an estimate, and counting them costs little."""
    small = table.data_bytes <= limits.counted_bytes_max and table.rows <= limits.counted_rows_max
    return table.engine == "InnoDB" and small


def _sample(database: str, table: Table, left_out: frozenset[str]) -> str:
    """The first and last rows of the key, as many as are read in no time; of a table without one, some."""
    kinds = {column.data_type for column in table.columns}
    # A row is read with all that is in it, and the newest may be wider than the average.
    most = next((rows for kind, rows in limits.probe_rows if kinds & kind or not kind))
    rows = max(1, min(most, limits.probe_bytes // max(table.row_bytes, 1)) // 2)
    key = table.integer_key
    long = [c.name for c in table.columns if varies_in_length(c) and c.name not in left_out]
    width = " + ".join(f"COALESCE(LENGTH({mysql_name(name)}), 0)" for name in long) or "0"
    parts = [f"{mysql_name(key)} AS k" if key else "0 AS k", f"{width} AS w"]
    for number, column in enumerate(times(table, left_out)):
        name = mysql_name(column.name)
        # Seconds of some year nearby, so that their squares remain distinct.
        seconds = f"IF({name} >= {_FIRST_TIMESTAMP}, TO_SECONDS({name}) - 6.3e10, NULL)"
        parts += [f"{name} AS c{number}", f"{seconds} AS y{number}"]
    selected = f"SELECT {', '.join(parts)} FROM {mysql_table(database, table.name)}"
    if key is None or table.rows <= rows:
        return f"{selected} LIMIT {2 * rows}"
    order = mysql_name(key)
    return f"({selected} ORDER BY {order} LIMIT {rows}) UNION ALL ({selected} ORDER BY {order} DESC LIMIT {rows})"


def probed(table: Table, left_out: frozenset[str], answer: str) -> Sample:
    """What an answer to `probe` says."""
    numbers = [None if word == "-" else word for word in answer.split(" ")]
    rows, sampled, lowest, highest, widest = (None if word is None else int(word) for word in numbers[:5])
    sampled_columns = []
    for number, column in enumerate(times(table, left_out)):
        start = 5 + number * _NUMBERS_PER_COLUMN
        some = [float(word or 0) for word in numbers[start : start + _NUMBERS_PER_COLUMN]]
        sampled_columns.append(_timestamp_columns(column.name, sampled or 0, some))
    return Sample(
        rows=rows,
        sampled=sampled or 0,
        lowest=lowest,
        highest=highest,
        widest=widest or 0,
        columns=tuple(sampled_columns),
    )


def _timestamp_columns(column: str, sampled: int, numbers: Sequence[float]) -> ColumnSample:
    missing, unset, future, n, x, y, xy, xx, yy = numbers
    rows = max(sampled, 1)
    spread = (n * xx - x * x) * (n * yy - y * y)
    correlation = max(-1.0, min(1.0, (n * xy - x * y) / spread**0.5)) if n > 1 and spread > 0 else None
    return ColumnSample(
        column=column, missing=missing / rows, unset=unset / rows, future=future / rows, correlation=correlation
    )


def rows_since(database: str, table: str, watermark: str | None, incremental_from: str | None, most: int) -> str:
    """How many rows have their watermark at a value or past it; so many at most are counted, by the index it has."""
    assert watermark is not None, "asked of tables that have one"
    later = f"{mysql_name(watermark)} >= {mysql_literal(incremental_from)}"
    rows = f"SELECT 1 FROM {mysql_table(database, table)} WHERE {later}"
    return f"SELECT COUNT(*) FROM ({rows} LIMIT {most}) AS some"
