"""
Arrow as it was read → Arrow as PostgreSQL can hold it, and a count of every
value that had to change.

Pure: arrays in, arrays out. Which conversion a column needs is written in its
rule (`rules`); the replica's form of the same rows is `to_infile`'s business.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from arrowetl import lazy
from arrowetl.errors import DataExtractionError
from arrowetl.model.plan import Field
from arrowetl.model.result import Coercion
from arrowetl.types import text_bytes
from arrowetl.types.mapping import digits_of, is_read_as_text, remedy_of, rule_of, to_arrow
from arrowetl.types.rules import TOLD

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.compute as pc
else:
    pl = lazy.module("polars")
    pc = lazy.module("pyarrow.compute")

EXAMPLES = 3
NO_CHARACTER = "no character"
"""What is found where bytes of a text are none in their character set; such a column is told by its bytes."""

# What values were found to be, what they became, and where they are (NULL is nowhere), of one column.
Found = list[tuple[str, str, pa.Array]]
Conversion = Callable[[pa.ChunkedArray, Field], tuple[pa.Array, Found]]


class _MisfitError(Exception):
    """Values that the type asked for cannot hold: where they are, and what they are."""

    def __init__(self, mask: pa.Array, what: str) -> None:
        super().__init__(what)
        self.mask = mask


def as_read(name: str, table: pa.Table, fields: Sequence[Field], key: str | None) -> tuple[pa.Table, frozenset[str]]:
    """
    What the source gave, seen to be whole, and texts that came as bytes as text.

    Returns:
        The table, and the columns in which some bytes are no character, as they were.

    Raises:
        DataExtractionError: the source had no room to say a value, and said nothing in its stead.
    """
    odd = set()
    for index, field in enumerate(fields):
        column = table.column(index)
        if rule_of(field).never_empty:
            unsaid = pc.equal(pc.binary_length(column), 0)
            if pc.any(unsaid).as_py():
                raise DataExtractionError(
                    _told_where(name, field, table, fields, key, unsaid, "too large for the source to say"),
                    "raise max_allowed_packet at the source",
                )
        if is_read_as_text(field) and pa.types.is_large_binary(column.type):
            try:
                table = table.set_column(index, table.schema.field(index).name, column.cast(pa.string()))
            except pa.ArrowInvalid:
                odd.add(field.column.name)
    return table, frozenset(odd)


def _told_where(
    name: str, field: Field, table: pa.Table, fields: Sequence[Field], key: str | None, mask: pa.Array, what: str
) -> str:
    """Table, column, how many values are what, and the first keys of them."""
    number = pc.sum(mask).as_py()
    shown = ", ".join(map(str, _examples(table, fields, key, mask)))
    values = f"{number:,} value{'s' if number > 1 else ''} {what}"
    at = f" (for example at {key} {shown})" if shown else ""
    return f"{name}.{field.column.name} ({field.column.column_type}): {values}{at}"


def _examples(table: pa.Table, fields: Sequence[Field], key: str | None, mask: pa.Array) -> list[int]:
    keys = next((table.column(i) for i, field in enumerate(fields) if field.column.name == key), None)
    return keys.filter(mask).slice(0, EXAMPLES).to_pylist() if keys is not None else []


def to_warehouse(
    name: str, table: pa.Table, fields: Sequence[Field], key: str | None
) -> tuple[pa.Table, tuple[Coercion, ...]]:
    """
    Convert a partition into what COPY takes.

    Args:
        name: the table's.
        table: the columns of `fields`, in order, as the source's select gave them.
        key: the primary key, where it is one integer column: examples are told by it.

    Returns:
        The table with the schema of `schema.to_arrow`, and what was coerced.

    Raises:
        DataExtractionError: a value fits neither the rule nor a coercion.
    """
    arrays, coercions = [], []
    for index, field in enumerate(fields):
        try:
            array, found = CONVERSIONS[rule_of(field).converts](table.column(index), field)
        except _MisfitError as misfit:
            what = f"{misfit}, which {field.type_postgres} cannot hold"
            raise DataExtractionError(
                _told_where(name, field, table, fields, key, misfit.mask, what), remedy_of(name, field)
            ) from None
        except (pa.ArrowInvalid, pa.ArrowTypeError, pl.exceptions.PolarsError, ValueError):
            # Their words hold the value.
            where = f"{name}.{field.column.name} ({field.column.column_type})"
            raise DataExtractionError(
                f"{where}: holds a value that {field.type_postgres} cannot", remedy_of(name, field)
            ) from None
        arrays.append(array)
        for what, became, mask in found:
            examples = tuple(_examples(table, fields, key, mask))
            coercions.append(Coercion(field.column.name, what, became, pc.sum(mask).as_py(), examples))
    return pa.Table.from_arrays(arrays, schema=to_arrow(fields)), tuple(coercions)


def merged(coercions: Iterable[Coercion], remembered: Iterable[Coercion] | None = None) -> tuple[Coercion, ...]:
    """
    The same coercions of several partitions as one each.

    Args:
        remembered: those of the last run that succeeded, by which the others are news; None where there was none.
    """
    sums: dict[tuple[str, str, str], Coercion] = {}
    for one in coercions:
        kind = (one.column, one.found, one.became)
        before = sums.get(kind, Coercion(*kind, 0))
        keys = (before.example_keys + one.example_keys)[:EXAMPLES]
        sums[kind] = Coercion(*kind, before.count + one.count, keys)
    if remembered is None:
        return tuple(sums.values())
    old = {(one.column, one.found) for one in remembered}
    return tuple(replace(one, news=(one.column, one.found) not in old) for one in sums.values())


_SRID_LEFT = "left out"


def srids(coercions: Iterable[Coercion]) -> tuple[dict[str, str], tuple[Coercion, ...]]:
    """
    What becomes of the spatial reference systems that the warehouse's bytes leave out.

    Returns:
        column → what its comment is to say: the SRID that all of its values have; and the coercions, without those
        that are none.
    """
    coercions = tuple(coercions)
    found: dict[str, list[str]] = {}
    for one in coercions:
        if one.became == _SRID_LEFT:
            found.setdefault(one.column, []).append(one.found)
    comments = {column: kinds[0] for column, kinds in found.items() if len(kinds) == 1 and kinds[0] != _NO_SRID}
    several = {column for column, kinds in found.items() if len(kinds) > 1}
    lost = (one for one in coercions if one.became != _SRID_LEFT or (one.column in several and one.found != _NO_SRID))
    return comments, tuple(lost)


_NO_SRID = "SRID 0"


def _refuse(mask: pl.Series, what: str) -> None:
    if mask.any():
        raise _MisfitError(mask.fill_null(False).to_arrow(), what)


def _cast(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    if column.type == field.arrow:
        return column, []
    if pa.types.is_integer(column.type) and pa.types.is_integer(field.arrow):
        before = series(column)
        after = before.cast(series(pa.array([], field.arrow)).dtype, strict=False)
        _refuse(after.is_null() & before.is_not_null(), f"outside of {field.arrow.bit_width} bits")
    return column.cast(field.arrow), []


def series(column: pa.Array | pa.ChunkedArray) -> pl.Series:
    """A column as polars has it."""
    return pl.Series(pl.from_arrow(column))


def _days(stamps: pl.Expr) -> pl.Expr:
    """yyyymmdd → the day; null where the calendar has none, as for zero and partial dates and February 30."""
    year, month, day = stamps // 10_000, stamps // 100 % 100, stamps % 100
    known = (year >= 1) & month.is_between(1, 12) & (day >= 1)
    first = pl.date(pl.when(known).then(year), pl.when(known).then(month), 1)
    date = first + pl.duration(days=day - 1)
    return pl.when(date.dt.month() == month).then(date)


def _dated(stamps: pa.ChunkedArray) -> pl.Series:
    """yyyymmdd → the day; each different one is looked up once: 20 ns a row instead of 53."""
    encoded = pc.dictionary_encode(stamps).unify_dictionaries().combine_chunks()
    days = series(encoded.dictionary).to_frame("stamp").select(_days(pl.col("stamp")).cast(pl.Date)).to_series()
    return series(days.to_arrow().take(encoded.indices))


def _date(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    stamps = column.cast(pa.int64())
    date = _dated(stamps)
    return date.to_arrow().cast(field.arrow), _no_dates(date, series(stamps))


def _datetime(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    whole = column.cast(pa.int64(), safe=False)
    micros = pl.lit(0)
    if pa.types.is_decimal(column.type):
        fraction = pc.subtract(column.cast(pa.decimal128(20, 6)), whole.cast(pa.decimal128(19, 0)))
        micros = pl.lit(series(pc.multiply(fraction, _MILLION).cast(pa.int64())))
    stamp, days = pl.col("stamp"), pc.divide(whole, 1_000_000)
    frame = pl.DataFrame({"stamp": series(whole), "date": _dated(days)})
    seconds = stamp // 10_000 % 100 * 3600 + stamp // 100 % 100 * 60 + stamp % 100
    moment = pl.col("date").cast(pl.Datetime("us")) + pl.duration(
        microseconds=seconds * 1_000_000 + micros, time_unit="us"
    )
    moments = frame.select(moment).to_series()
    return moments.to_arrow().cast(field.arrow), _no_dates(moments, series(days))


_MILLION = pa.scalar(Decimal(1_000_000), pa.decimal128(7, 0))


def _no_dates(moments: pl.Series, days: pl.Series) -> Found:
    if moments.null_count() == days.null_count():
        return []
    lost = moments.is_null() & days.is_not_null()
    zero = lost & (days == 0)
    partial = lost & ~zero & ((days % 100 == 0) | (days // 100 % 100 == 0) | (days < 10_000))
    kinds = {"zero date": zero, "partial date": partial, "impossible date": lost & ~zero & ~partial}
    return [(kind, "NULL", mask.fill_null(False).to_arrow()) for kind, mask in kinds.items() if mask.any()]


def _time(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    micros = series(column)
    _refuse((micros < 0) | (micros >= 86_400_000_000), "of another day")
    return column.cast(field.arrow), []


def _nothing(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return pa.nulls(len(column), field.arrow), []


def _boolean(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    values = series(column)
    _refuse((values < 0) | (values > 1), "other than 0 and 1")
    return pc.not_equal(column, 0), []


def _text(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
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
    """Of texts told by their bytes: whether each is all of them, and the texts."""
    parts = series(column).str.extract_groups(TOLD)
    return parts.struct.field("2"), pa.chunked_array([parts.struct.field("3").to_arrow()]).cast(pa.string())


def _told(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    mark, said = _parts(column)
    text, found = _text(said, field)
    # Some characters have two codes in their set: the text is right where it has no `?`.
    lost = ((mark == "!") & series(said).str.contains("[?\ufffd]")).fill_null(False)
    return text, [*found, *([(NO_CHARACTER, "?", lost.to_arrow())] if lost.any() else [])]


def _label(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    mark, said = _parts(column)
    # The replica's labels are the texts that the catalog told, and would be others.
    _refuse(mark == "!", f"whose label is no text in {field.column.charset}")
    return _text(said, field)


def _bytes(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return series(column).str.extract(TOLD, 1).str.decode("hex").to_arrow().cast(field.arrow), []


def _json(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
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


def _jsonb(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    text, found = _json(column, field)
    # jsonb's own wire form: a version byte, then the text.
    return pc.binary_join_element_wise(pa.scalar(b"\x01", pa.binary()), text, b""), found


def _wkb(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    # MySQL stores four bytes of SRID before the well-known bytes.
    stored = column.cast(pa.binary())
    srids = pc.binary_slice(stored, 0, 4)
    found: Found = []
    for srid in pc.unique(srids.drop_null()):
        number = int.from_bytes(srid.as_py(), "little")
        found.append((f"SRID {number}", _SRID_LEFT, pc.equal(srids, srid)))
    # binary_slice without an end fails where the first value is NULL.
    return pc.binary_replace_slice(stored, 0, 4, b"").cast(field.arrow), found


def _each(column: pa.ChunkedArray, field: Field, convert: Callable[[str], bytes]) -> tuple[pa.Array, Found]:
    values: list[Any] = [None if value is None else convert(value) for value in column.to_pylist()]
    return pa.array(values, field.arrow), []


def _uuid(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return _each(column, field, lambda text: bytes.fromhex(text.replace("-", "")))


def _inet(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return _each(column, field, _inet_send)


def _inet_send(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    family, bits = (2, 32) if address.version == 4 else (3, 128)
    return bytes([family, bits, 0, len(address.packed)]) + address.packed


CONVERSIONS: dict[str, Conversion] = {
    "cast": _cast,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "boolean": _boolean,
    "nothing": _nothing,
    "text": _text,
    "told": _told,
    "label": _label,
    "bytes": _bytes,
    "json": _json,
    "jsonb": _jsonb,
    "wkb": _wkb,
    "uuid": _uuid,
    "inet": _inet,
}
