"""
What was read → what PostgreSQL can hold, and what had to change for it: one function a conversion.

Pure: a column in, a column out. Which of them a column needs is written in its rule (`rules`), by which `conversion`
calls them; the replica's form of the same values is `to_infile`'s business.
"""

from __future__ import annotations

import ipaddress
import json
from binascii import unhexlify
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from arrowetl import lazy
from arrowetl.model.plan import Field
from arrowetl.types import text_bytes
from arrowetl.types.postgres_types import digits_of
from arrowetl.types.text_bytes import HEX_AND_TEXT, series

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.compute as pc
else:
    pl, pc = lazy.module("polars"), lazy.module("pyarrow.compute")

NO_CHARACTER = "no character"
"""Found where bytes of a text are no character in their character set; such a column is read as hex."""
SRID_LEFT, NO_SRID = "left out", "SRID 0"

# What values were found to be, what they became, and where they are (NULL is nowhere), of one column.
Found = list[tuple[str, str, pa.Array]]
Conversion = Callable[[pa.ChunkedArray, Field], tuple[pa.Array, Found]]


class MisfitError(Exception):
    """Values that the type asked for cannot hold: where they are, and what they are."""

    def __init__(self, mask: pa.Array, what: str) -> None:
        super().__init__(what)
        self.mask = mask


def _refuse(mask: pl.Series, what: str) -> None:
    if mask.any():
        raise MisfitError(mask.fill_null(False).to_arrow(), what)


def cast(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    if column.type == field.arrow:
        return column, []
    if pa.types.is_integer(column.type) and pa.types.is_integer(field.arrow):
        before = series(column)
        after = before.cast(series(pa.array([], field.arrow)).dtype, strict=False)
        _refuse(after.is_null() & before.is_not_null(), f"outside of {field.arrow.bit_width} bits")
    return column.cast(field.arrow), []


def _days(timestamps: pl.Expr) -> pl.Expr:
    """yyyymmdd → the day; null where the calendar has none, as for zero and partial dates and February 30."""
    year, month, day = timestamps // 10_000, timestamps // 100 % 100, timestamps % 100
    known = (year >= 1) & month.is_between(1, 12) & (day >= 1)
    first = pl.date(pl.when(known).then(year), pl.when(known).then(month), 1)
    found = first + pl.duration(days=day - 1)
    return pl.when(found.dt.month() == month).then(found)


def _dated(timestamps: pa.ChunkedArray) -> pl.Series:
    """yyyymmdd → the day; each different one is looked up once: 20 ns a row instead of 53."""
    encoded = pc.dictionary_encode(timestamps).unify_dictionaries().combine_chunks()
    days = series(encoded.dictionary).to_frame("digits").select(_days(pl.col("digits")).cast(pl.Date)).to_series()
    return series(days.to_arrow().take(encoded.indices))


def date(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    timestamps = column.cast(pa.int64())
    days = _dated(timestamps)
    return days.to_arrow().cast(field.arrow), _no_dates(days, series(timestamps))


def date_and_time(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    whole = column.cast(pa.int64(), safe=False)
    micros = pl.lit(0)
    if pa.types.is_decimal(column.type):
        fraction = pc.subtract(column.cast(pa.decimal128(20, 6)), whole.cast(pa.decimal128(19, 0)))
        million = pa.scalar(Decimal(1_000_000), pa.decimal128(7, 0))
        micros = pl.lit(series(pc.multiply(fraction, million).cast(pa.int64())))
    timestamp, days = pl.col("digits"), pc.divide(whole, 1_000_000)
    frame = pl.DataFrame({"digits": series(whole), "date": _dated(days)})
    seconds = timestamp // 10_000 % 100 * 3600 + timestamp // 100 % 100 * 60 + timestamp % 100
    timestamp = pl.col("date").cast(pl.Datetime("us")) + pl.duration(
        microseconds=seconds * 1_000_000 + micros, time_unit="us"
    )
    timestamps = frame.select(timestamp).to_series()
    return timestamps.to_arrow().cast(field.arrow), _no_dates(timestamps, series(days))


def _no_dates(timestamps: pl.Series, days: pl.Series) -> Found:
    if timestamps.null_count() == days.null_count():
        return []
    lost = timestamps.is_null() & days.is_not_null()
    zero = lost & (days == 0)
    partial = lost & ~zero & ((days % 100 == 0) | (days // 100 % 100 == 0) | (days < 10_000))
    kinds = {"zero date": zero, "partial date": partial, "impossible date": lost & ~zero & ~partial}
    return [(kind, "NULL", mask.fill_null(False).to_arrow()) for kind, mask in kinds.items() if mask.any()]


def time_of_day(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    micros = series(column)
    _refuse((micros < 0) | (micros >= 86_400_000_000), "of another day")
    return column.cast(field.arrow), []


def null(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return pa.nulls(len(column), field.arrow), []


def boolean(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    values = series(column)
    _refuse((values < 0) | (values > 1), "other than 0 and 1")
    return pc.not_equal(column, 0), []


def text(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    """Without what PostgreSQL's text cannot hold, which is counted; refused where it is longer than was asked for."""
    column, found = _without_nul(column)
    longest = digits_of(field.type_postgres)
    if longest:
        _refuse(series(column).str.len_chars() > longest[0], f"longer than {longest[0]} characters")
    return column.cast(field.arrow), found


def _without_nul(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Found]:
    if not text_bytes.holds(column, "\0"):
        return column, []
    marked = pc.match_substring(column, "\0")
    if not pc.any(marked).as_py():
        return column, []
    return pc.replace_substring(column, "\0", ""), [("NUL character", "removed", marked)]


def _parts(column: pa.ChunkedArray) -> tuple[pl.Series, pa.ChunkedArray]:
    """Of texts read as hex: whether each is all of its bytes, and the texts."""
    parts = series(column).str.extract_groups(HEX_AND_TEXT)
    return parts.struct.field("2"), pa.chunked_array([parts.struct.field("3").to_arrow()]).cast(pa.string())


def text_from_hex(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    mark, said = _parts(column)
    texts, found = text(said, field)
    # Some characters have two codes in their set: the text is right where it has no `?`.
    lost = ((mark == "!") & series(said).str.contains("[?\ufffd]")).fill_null(False)
    return texts, [*found, *([(NO_CHARACTER, "?", lost.to_arrow())] if lost.any() else [])]


def label(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    mark, said = _parts(column)
    # The replica's labels are the texts that the catalog showed, and would differ.
    _refuse(mark == "!", f"whose label is no text in {field.column.charset}")
    return text(said, field)


def from_hex(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return series(column).str.extract(HEX_AND_TEXT, 1).str.decode("hex").to_arrow().cast(field.arrow), []


def json_text(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    column, nul = _without_nul(column)
    # \u0000 after an even number of backslashes is the escape; after an odd number it is text.
    escape = r"(^|[^\\])((?:\\\\)*)\\u0000"
    marked = pc.match_substring_regex(column, escape)
    found: Found = []
    if pc.any(marked).as_py():
        found = [("\\u0000", "removed", marked)]
        while pc.any(pc.match_substring_regex(column, escape)).as_py():
            column = pc.replace_substring_regex(column, escape, r"\1\2")
        _refuse(
            series(column).map_elements(_has_equal_keys, pl.Boolean) & series(marked),
            "with equal keys but for \\u0000",
        )
    return column.cast(pa.binary()), [*nul, *found]


def _has_equal_keys(document: str) -> bool:
    """Whether some object of a document has a key twice: PostgreSQL would keep the last."""
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> None:
        nonlocal twice
        twice = twice or len({name for name, _ in found}) < len(found)

    with suppress(ValueError):
        json.loads(document, object_pairs_hook=pairs)
    return twice


def jsonb(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    documents, found = json_text(column, field)
    # jsonb's own wire form: a version byte, then the text.
    return pc.binary_join_element_wise(pa.scalar(b"\x01", pa.binary()), documents, b""), found


def wkb(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    # MySQL stores four bytes of SRID before the well-known bytes.
    stored = column.cast(pa.binary())
    srids = pc.binary_slice(stored, 0, 4)
    found: Found = []
    for srid in pc.unique(srids.drop_null()):
        number = int.from_bytes(srid.as_py(), "little")
        found.append((f"SRID {number}", SRID_LEFT, pc.equal(srids, srid)))
    # binary_slice without a stop fails where the first value is NULL.
    return pc.binary_replace_slice(stored, 0, 4, b"").cast(field.arrow), found


def _each(column: pa.ChunkedArray, field: Field, convert: Callable[[str], bytes]) -> tuple[pa.Array, Found]:
    values: list[Any] = [None if value is None else convert(value) for value in column.to_pylist()]
    return pa.array(values, field.arrow), []


def uuid(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    # Not bytes.fromhex, which overlooks blanks.
    return _each(column, field, lambda text: unhexlify(text.replace("-", "")))


def inet(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return _each(column, field, _inet_send)


def _inet_send(text: str) -> bytes:
    if "%" in text:
        raise ValueError("an address of one network card")
    address = ipaddress.ip_address(text)
    family, bits = (2, 32) if address.version == 4 else (3, 128)
    return bytes([family, bits, 0, len(address.packed)]) + address.packed
