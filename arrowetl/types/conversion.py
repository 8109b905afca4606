"""
The rows of a partition, by the rules of their columns: as they were read, as the warehouse takes them, as the replica.

Every value that had to change is counted here, by column and kind. Pure, but for the file that `spill` names; what a
value becomes is `to_postgres`'s and `to_infile`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from arrowetl import lazy, limits
from arrowetl.errors import DataExtractionError
from arrowetl.model.plan import Field
from arrowetl.model.result import Coercion
from arrowetl.types import to_infile
from arrowetl.types.mapping import is_read_as_text, remedy_of, rule_of, to_arrow
from arrowetl.types.to_postgres import NO_SRID, SRID_LEFT, MisfitError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.compute as pc
else:
    pl, pc = lazy.module("polars"), lazy.module("pyarrow.compute")

EXAMPLES = 3


def as_read(name: str, table: pa.Table, fields: Sequence[Field], key: str | None) -> tuple[pa.Table, frozenset[str]]:
    """
    What the source returned, checked to be complete, and texts that came as bytes as text.

    Returns:
        The table, and the columns in which some bytes are no character, as they were.

    Raises:
        DataExtractionError: a value was too large for the source to send, and came empty.
    """
    odd = set()
    for index, field in enumerate(fields):
        column = table.column(index)
        if rule_of(field).empty_means_truncated:
            unsaid = pc.equal(pc.binary_length(column), 0)
            if pc.any(unsaid).as_py():
                raise DataExtractionError(
                    _located(name, field, table, fields, key, unsaid, "too large for the source to say"),
                    "raise max_allowed_packet at the source",
                )
        if is_read_as_text(field) and pa.types.is_large_binary(column.type):
            try:
                table = table.set_column(index, table.schema.field(index).name, column.cast(pa.string()))
            except pa.ArrowInvalid:
                odd.add(field.column.name)
    return table, frozenset(odd)


def _located(
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
        key: the primary key, where it is one integer column: examples are named by it.

    Returns:
        The table with the warehouse's Arrow types, and what was coerced.

    Raises:
        DataExtractionError: a value fits neither the rule nor a coercion.
    """
    arrays, coercions = [], []
    for index, field in enumerate(fields):
        try:
            array, found = rule_of(field).to_postgres(table.column(index), field)
        except MisfitError as misfit:
            what = f"{misfit}, which {field.type_postgres} cannot hold"
            raise DataExtractionError(
                _located(name, field, table, fields, key, misfit.mask, what), remedy_of(name, field)
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
            coercions.append(
                Coercion(
                    column=field.column.name,
                    found=what,
                    became=became,
                    count=pc.sum(mask).as_py(),
                    example_keys=examples,
                )
            )
    return pa.Table.from_arrays(arrays, schema=to_arrow(fields)), tuple(coercions)


def merged(coercions: Iterable[Coercion], known_coercions: Iterable[Coercion] | None = None) -> tuple[Coercion, ...]:
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
    if known_coercions is None:
        return tuple(sums.values())
    old = {(one.column, one.found) for one in known_coercions}
    return tuple(replace(one, is_new=(one.column, one.found) not in old) for one in sums.values())


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
        if one.became == SRID_LEFT:
            found.setdefault(one.column, []).append(one.found)
    comments = {column: kinds[0] for column, kinds in found.items() if len(kinds) == 1 and kinds[0] != NO_SRID}
    several = {column for column, kinds in found.items() if len(kinds) > 1}
    lost = (one for one in coercions if one.became != SRID_LEFT or (one.column in several and one.found != NO_SRID))
    return comments, tuple(lost)


def write_infile(table: pa.Table, fields: Sequence[Field], file: IO[bytes]) -> None:
    """
    Write a partition as an infile.

    Args:
        table: the columns of `fields`, in order, as the source's select gave them.
    """
    rows = max(1, limits.infile_bytes * table.num_rows // max(table.nbytes, 1))
    for start in range(0, table.num_rows, rows):
        columns = []
        for index, field in enumerate(fields):
            column = table.column(index).slice(start, rows)
            printed = rule_of(field).to_infile(column, field)
            columns.append(to_infile.escaped(printed, column).alias(str(index)))
        frame = pl.DataFrame(columns)
        frame.write_csv(file, include_header=False, separator="\t", quote_style="never", null_value=to_infile.NULL)


def unlabelled(table: pa.Table, fields: Sequence[Field]) -> int:
    """
    How many values of enums are none of their labels, but the empty text that a server puts in place of a wrong one.

    A server stores them only with a warning each.
    """
    return sum(
        pc.sum(pc.equal(table.column(index), "=" if rule_of(field).to_infile is to_infile.label else "")).as_py() or 0
        for index, field in enumerate(fields)
        if field.column.data_type == "enum" and "" not in to_infile.labels(field.column.column_type)
    )
