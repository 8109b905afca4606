"""
A synthetic OpenDental: 379 tables of version 21.1 as a clinic has them, and two backup copies.

The facts (names, types, indexes, sizes, references) are next to this
module as Parquet; the rows are invented, the same ones for the same seed and
scale. Pure but for those files; `seed` loads what comes out of here.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

SCALES = {"tiny": 0.001, "small": 0.01, "clinic": 1.0}
SEED = 20_240_617
CHUNK_ROWS = 250_000

_FACTS = Path(__file__).parent / "facts"
# Backup copies as clinics make them by hand: all columns, no key. Name → what it is a copy of.
BACKUPS = {"tempprocedurecode_bak_20240617": "procedurecode", "tempscheduleop_bak_20200424": "scheduleop"}
# OpenDental's preference RandomPrimaryKeys, as one table has it here.
RANDOM_KEYS = "sheetfield"
# The profile's clinic keeps images elsewhere; one that does not has binary blobs.
_FILES_ROWS = 400

Values = pl.Series


@dataclass(frozen=True)
class SyntheticColumn:
    name: str
    type: str
    nullable: bool
    default: str
    extra: str
    charset: str
    collation: str
    references: str | None
    enum_min: int | None
    enum_max: int | None

    @property
    def bare(self) -> str:
        return self.type.partition("(")[0].partition(" ")[0]

    @property
    def length(self) -> int:
        return int(self.type.partition("(")[2].partition(")")[0] or 0)


@dataclass(frozen=True)
class SyntheticTable:
    name: str
    columns: tuple[SyntheticColumn, ...]
    key: str | None
    indexes: tuple[tuple[str, tuple[tuple[str, int | None], ...], bool], ...]
    rows: int
    row_bytes: int
    """What a row takes at the clinic whose profile this is."""


def factor_of(scale: str) -> float:
    """
    >>> factor_of("small")
    0.01
    """
    factor = SCALES.get(scale)
    if factor is None:
        factor = float(scale)
    if not 0 < factor <= 100:
        raise ValueError(f"a scale is tiny, small, clinic, or a factor up to 100; got {scale!r}")
    return factor


@cache
def tables(factor: float) -> dict[str, SyntheticTable]:
    """Every table, with as many rows as the scale gives it; those that are empty at the clinic stay empty."""
    columns = pl.read_parquet(_FACTS / "columns.parquet").partition_by("table", as_dict=True)
    indexes = pl.read_parquet(_FACTS / "indexes.parquet").partition_by("table", as_dict=True)
    profile = {row["table"]: row for row in pl.read_parquet(_FACTS / "profile.parquet").iter_rows(named=True)}
    found = {}
    for (name,), frame in sorted(columns.items()):
        clinic = profile.get(name, {"rows": 0, "mb": 0.0})
        rows = _FILES_ROWS if name == "files" else clinic["rows"]
        keys = _indexes(indexes[(name,)])
        found[name] = SyntheticTable(
            name=name,
            columns=tuple(_column(row) for row in frame.sort("position").iter_rows(named=True)),
            key=next((columns[0][0] for index, columns, _ in keys if index == "PRIMARY"), None),
            indexes=tuple(keys),
            rows=_scaled(rows, factor),
            row_bytes=round(clinic["mb"] * 2**20 / clinic["rows"]) if clinic["rows"] else 0,
        )
    for backup, original in BACKUPS.items():
        table = found[original]
        plain = tuple(SyntheticColumn(**{**_as_dict(column), "extra": ""}) for column in table.columns)
        rows = _scaled(profile[backup]["rows"], factor)
        found[backup] = SyntheticTable(
            name=backup, columns=plain, key=None, indexes=(), rows=rows, row_bytes=table.row_bytes
        )
    return found


def _scaled(rows: int, factor: float) -> int:
    # A few of everything that is not empty, whatever the scale.
    return max(round(rows * factor), min(rows, 3))


def _as_dict(column: SyntheticColumn) -> dict[str, Any]:
    return {name: getattr(column, name) for name in column.__dataclass_fields__}


def _column(row: dict[str, Any]) -> SyntheticColumn:
    names = ("type", "default", "extra", "charset", "collation", "references", "enum_min", "enum_max")
    return SyntheticColumn(name=row["column"], nullable=row["nullable"] == "YES", **{name: row[name] for name in names})


def _indexes(frame: pl.DataFrame) -> list[tuple[str, tuple[tuple[str, int | None], ...], bool]]:
    indexes: dict[str, tuple[tuple[str, int | None], ...]] = {}
    unique = {}
    for row in frame.sort("index", "seq").iter_rows(named=True):
        indexes[row["index"]] = (*indexes.get(row["index"], ()), (row["column"], row["prefix"]))
        unique[row["index"]] = bool(row["unique"])
    return [(name, columns, unique[name]) for name, columns in indexes.items()]


# --- rows ---------------------------------------------------------------------------------------


def chunks(table: SyntheticTable, factor: float, seed: int = SEED) -> Iterator[pl.DataFrame]:
    """
    A table's rows, some hundred thousand at a time: text as it is to be, everything else as numbers or as
    MySQL writes it (dates and times, zero ones among them, are text).
    """
    for start in range(0, table.rows, CHUNK_ROWS):
        rows = min(CHUNK_ROWS, table.rows - start)
        series = []
        for column in table.columns:
            random = _random(seed, table.name, column.name, start)
            values = _values(table, column, random, start, rows, factor, seed)
            if column.nullable and column.name != table.key:
                nothing = pl.Series(random.random(rows) < 0.1)
                values = pl.select(pl.when(nothing).then(None).otherwise(values)).to_series()
            series.append(values.alias(column.name))
        yield pl.DataFrame(series)


def _random(seed: int, *names: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32("/".join(map(str, names)).encode())]))


@cache
def keys(name: str, factor: float, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The primary keys of a table: ascending with gaps, or at random where the clinic chose that."""
    table = tables(factor)[name]
    random = _random(seed, name, "keys")
    if table.key == "PatNum" and name != "patient":
        patients = keys("patient", factor, seed)
        return patients[: table.rows]
    if name == RANDOM_KEYS:
        found = np.unique(random.integers(1, 2**62, table.rows + table.rows // 1000 + 8))
        return random.permutation(found)[: table.rows]
    gaps = np.where(random.random(table.rows) < 0.02, random.integers(2, 60, table.rows), 1)
    return np.cumsum(gaps)


def _values(
    table: SyntheticTable, column: SyntheticColumn, random: np.random.Generator, start: int, rows: int,
    factor: float, seed: int,
) -> Values:  # fmt: skip
    if column.name == table.key:
        return pl.Series(keys(table.name, factor, seed)[start : start + rows])
    target = _referred(column, factor)
    if target is not None and column.bare in ("bigint", "int"):
        return _foreign(random, rows, keys(target, factor, seed))
    if column.enum_max is not None and "int" in column.bare:
        return _whole(random, rows, column.enum_min or 0, column.enum_max, column)
    return _MAKERS[column.bare](random, rows, table, column)


def _referred(column: SyntheticColumn, factor: float) -> str | None:
    """The table a column points into: as documented, or the one whose key has that name."""
    known = tables(factor)
    target = column.references if column.references in known else _by_key(factor).get(column.name)
    return target if target is not None and known[target].key is not None else None


@cache
def _by_key(factor: float) -> dict[str, str]:
    return {
        table.key: name for name, table in reversed(tables(factor).items()) if table.key and table.key != "PatNum"
    } | {"PatNum": "patient"}


def _foreign(random: np.random.Generator, rows: int, targets: np.ndarray[Any, Any]) -> Values:
    # 0 is OpenDental's "none"; where there is no row to refer to, it is all there is.
    if not len(targets):
        return pl.Series(np.zeros(rows, np.int64))
    chosen = targets[random.integers(0, len(targets), rows)]
    return pl.Series(np.where(random.random(rows) < 0.15, 0, chosen))


_WIDTHS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 63}


def _whole(random: np.random.Generator, rows: int, lowest: int, highest: int, column: SyntheticColumn) -> Values:
    bits = _WIDTHS[column.bare]
    lower, upper = (0, 2**bits - 1) if "unsigned" in column.type else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return pl.Series(random.integers(max(lowest, lower), min(highest, upper) + 1, rows))


def _integer(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    name = column.name
    if column.type.startswith("tinyint(1)") or name.startswith(("Is", "Has", "Do", "Show", "Use")):
        return _whole(random, rows, 0, 1, column)
    if "Color" in name:
        return _whole(random, rows, -16_777_216, -1, column)
    if column.bare == "tinyint":
        low = -1 if column.default == "-1" or name == "Percentage" else 0
        return _whole(random, rows, low, 4, column)
    if name.endswith(("Order", "Pos", "Count", "Qty", "Num")):
        return _whole(random, rows, 0, 50, column)
    ranges = {"smallint": (0, 999), "int": (0, 10_000), "bigint": (0, 1_000_000)}
    return _whole(random, rows, *ranges[column.bare], column)


def _money(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    amounts = np.round(random.gamma(2.0, 60.0, rows), 2)
    amounts = np.where(random.random(rows) < 0.3, 0.0, amounts)
    signs = np.where(random.random(rows) < 0.05, -1.0, 1.0)
    # A clinic's doubles were summed and split for years: not all of them are round.
    thirds = np.where(random.random(rows) < 0.02, amounts / 3, amounts * signs)
    # Not -0.0: MariaDB reads that as 0.0 where MySQL 5.6 keeps it, and the same seed gives the same data.
    return pl.Series(thirds + 0.0)


def _float(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    lowest = 0.0 if "unsigned" in column.type else -50.0
    return pl.Series(random.uniform(lowest, 1000.0, rows).astype(np.float32))


_FIRST_DAY = np.datetime64("2008-01-02")
_DAYS = 6_700


def _unset(column: SyntheticColumn) -> str:
    """What OpenDental writes for "no date": the column's own default."""
    return column.default.strip("'") if column.default.startswith("'0") else "0001-01-01"


def _date(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    span = 32_000 if "Birth" in column.name else _DAYS
    first = _FIRST_DAY - np.timedelta64(26_000 if "Birth" in column.name else 0, "D")
    after = random.integers(0, span, rows).astype("timedelta64[D]")
    days = pl.Series((first + after).astype("datetime64[ms]")).dt.strftime("%Y-%m-%d")
    return _some_unset(random, days, _unset(column)[:10])


def _datetime(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    seconds = random.integers(0, _DAYS * 86_400, rows).astype("timedelta64[s]")
    times = pl.Series((_FIRST_DAY.astype("datetime64[s]") + seconds).astype("datetime64[ms]"))
    text = times.dt.strftime("%Y-%m-%d %H:%M:%S")
    if column.bare == "timestamp":
        return text
    unset = _unset(column)
    return _some_unset(random, text, unset if " " in unset else f"{unset} 00:00:00")


def _some_unset(random: np.random.Generator, values: Values, unset: str) -> Values:
    none = pl.Series(random.random(len(values)) < 0.12)
    return pl.select(pl.when(none).then(pl.lit(unset)).otherwise(values)).to_series()


# Durations, not times of day: of the clock, they may be negative and longer than a day.
_DURATIONS = {
    "clockevent": (-30_000, 200_000),
    "timeadjust": (-400_000, 400_000),
    "timecardrule": (0, 90_000),
}


def _time(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    lowest, highest = _DURATIONS.get(table.name, (8 * 3600, 18 * 3600))
    seconds = pl.Series("s", random.integers(lowest, highest, rows) // 60 * 60)
    size = pl.col("s").abs()
    parts = [(size // 3600), (size // 60 % 60), (size % 60)]
    text = pl.format(
        "{}{}:{}:{}",
        pl.when(pl.col("s") < 0).then(pl.lit("-")).otherwise(pl.lit("")),
        *[part.cast(pl.String).str.zfill(2) for part in parts],
    )
    return seconds.to_frame().select(text).to_series()


def _blob(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    blobs = [random.bytes(int(size)) for size in random.integers(200, 40_000, rows)]
    # NUL, quotes, line ends and bytes that are no text.
    return pl.Series([b"\x00\xff\xd8'\"\\\r\n,\t\x1a" + blob for blob in blobs], dtype=pl.Binary)


_WORDS = (
    "patient presented with", "sensitivity", "upper left quadrant", "no visible caries", "prophy, fluoride",
    'said "it only hurts when I chew"', "pt's mother called", "C:\\images\\bitewing", "BW x4",
    "insurance: 80%, 50%, 0%",
    "next visit\tin 6 months", "NULL", "\\N", "a \\ b", "café Müller", "☺ ❤", "Ω 3", "signed\r\nreviewed", "see note;",
    "'quoted'", "crown #14 MOD", "co-pay $25.00", "N/A", "x\\", "rescheduled", "left a voicemail",
)  # fmt: skip
_RTF = r"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}\f0\fs20 Tooth \b 14\b0: watch \par see \'e9valuation}"
_NAMES = (
    "O'Brien",
    "García",
    "Smith",
    "Müller",
    "Nguyen",
    "de la Cruz",
    "Lee",
    "Kowalski-Jones",
    "Ng",
    "Null",
)
_CODES = ("D0120", "D0274", "D1110", "D2392", "D7140", "D0150", "N4118", "")


@cache
def _phrases(length: int, latin: bool, typical: int) -> tuple[str, ...]:
    """A few hundred different texts of about a typical length, none longer than the column."""
    random = _random(SEED, "phrases", length, latin, typical)
    phrases = []
    for _ in range(400):
        text = ""
        while len(text) < typical * random.uniform(0.2, 1.8):
            text += ("" if not text else " ") + _WORDS[random.integers(0, len(_WORDS))]
        if random.random() < 0.02 and length >= len(_RTF):
            text = _RTF
        text = text[:length]
        # Trailing blanks would be no fact of the text but of how a server compares.
        phrases.append("".join(c for c in text if ord(c) < 256 or not latin).rstrip(" "))
    return tuple(phrases)


def _text(random: np.random.Generator, rows: int, table: SyntheticTable, column: SyntheticColumn) -> Values:
    if column.name == "RawBase64" and table.name == "documentmisc":
        return pl.Series([base64.b64encode(random.bytes(1_000_000 + i % 7)).decode() for i in range(rows)])
    length = column.length or 60_000
    if column.name.endswith(("LName", "FName", "MiddleI", "Preferred")):
        pool: tuple[str, ...] = _NAMES
    elif "Code" in column.name:
        pool = _CODES
    else:
        pool = _phrases(length, column.charset == "latin1", _typical(table, column))
    pool = tuple(text[:length] for text in pool)
    texts = pl.Series(pool).gather(pl.Series(random.integers(0, len(pool), rows)))
    empty = pl.Series(random.random(rows) < 0.25)
    texts = pl.select(pl.when(empty).then(pl.lit("")).otherwise(texts)).to_series()
    if (table.name, column.name) not in _WITH_NUL:
        return texts
    torn = pl.Series(random.random(rows) < 0.01)
    return pl.select(pl.when(torn).then(texts.str.slice(0, 6) + "\0" + texts.str.slice(6)).otherwise(texts)).to_series()


# Where programs paste what they were given: MySQL takes NUL in a text, PostgreSQL does not.
_WITH_NUL = {("commlog", "Note"), ("sheetfield", "FieldValue"), ("emailmessage", "RawEmailIn")}


def _typical(table: SyntheticTable, column: SyntheticColumn) -> int:
    """The length that makes a row of about the clinic's width, shared among the free texts."""
    fixed = sum(
        {"bigint": 8, "int": 4, "double": 8, "datetime": 8, "timestamp": 4}.get(c.bare, 2) for c in table.columns
    )
    free = [
        c
        for c in table.columns
        if c.bare in ("text", "mediumtext", "longtext") or (c.bare == "varchar" and c.length > 50)
    ]
    # A third of the clinic's bytes is indexes, and a quarter of the texts is empty.
    share = (table.row_bytes * 0.7 - fixed) / max(1, len(free)) * 1.3
    return int(min(max(share, 8), 2_000)) if column in free else min(column.length, 12)


Maker = Callable[[np.random.Generator, int, SyntheticTable, SyntheticColumn], Values]
_MAKERS: dict[str, Maker] = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), _integer),
    "double": _money,
    "float": _float,
    "date": _date,
    **dict.fromkeys(("datetime", "timestamp"), _datetime),
    "time": _time,
    "longblob": _blob,
    **dict.fromkeys(("char", "varchar", "text", "mediumtext", "longtext"), _text),
}
