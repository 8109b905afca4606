"""
What a server's catalog says, as model values.

Pure: rows of `source_sql.catalog` in, tables out. `reader` asks for them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Column, Index, Table
from arrowetl.planning import evidence


def update_time_doubts(habits: Iterable[tuple[Any, ...]]) -> str:
    """Why the server's UPDATE_TIME of MyISAM tables proves nothing, in words; empty where it does."""
    found = {str(name).lower(): str(value) for name, value in habits}
    return evidence.update_time_doubts(
        found.get("version_compile_os", ""), found.get("myisam_use_mmap", "OFF") in ("ON", "1")
    )


# What a VIRTUAL column may depend on besides its row: clocks, chance, and who asks.
_NOT_OF_THE_ROW = re.compile(
    r"\b(?:(?:now|sysdate|curdate|curtime|utc_date|utc_time|utc_timestamp|localtime|localtimestamp|rand|"
    r"uuid|uuid_short|sys_guid|random_bytes|connection_id|user|session_user|system_user|current_role|database|schema|"
    r"version|found_rows|row_count|last_insert_id|is_free_lock|is_used_lock|get_lock|sleep|benchmark|load_file|"
    r"encrypt)\s*\(|"
    r"unix_timestamp\s*\(\s*\)|current_timestamp|current_date|current_time|current_user)|@@",
    re.IGNORECASE,
)


def _depends_on(extra: str, expression: str | None, type_: str = "int", times: Collection[str] = ()) -> str:
    """
    What a VIRTUAL column's values depend on besides their row; empty where on nothing.

    Args:
        type_: the column's own.
        times: the table's columns of type TIME.

    >>> _depends_on("VIRTUAL GENERATED", "timestampdiff(YEAR,`Born`,curdate())")
    'curdate()'
    >>> _depends_on("VIRTUAL GENERATED", "`a` + `b`"), _depends_on("STORED GENERATED", "`a` + 1")
    ('', '')
    >>> _depends_on("VIRTUAL GENERATED", "cast(`At` as datetime)", "datetime", ["At"])
    'curdate()'
    """
    if "VIRTUAL" not in extra.upper() or not expression:
        return ""
    words = _LITERALS.sub("''", expression)
    if found := _NOT_OF_THE_ROW.search(words):
        return found[0].rstrip("( )").lower() + "()"
    # Where a server wants the date of a TIME, it takes today's.
    if type_ == "time" or not {one[1:-1].replace("``", "`") for one in _LITERALS.findall(expression)} & {*times}:
        return ""
    called = {name.lower() for name in re.findall(r"(\w+)\s*\(", words)}
    return "curdate()" if type_ in ("date", "datetime", "timestamp") or called - _WANT_NO_DATE else ""


# Texts and names in which the word is no function.
_LITERALS = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`")
# Of what a function makes of a TIME and of nothing else: the others may be read as days.
_WANT_NO_DATE = {
    "hour", "minute", "second", "microsecond", "time_to_sec", "time_format", "addtime", "subtime", "timediff", "concat",
    "concat_ws",
}  # fmt: skip


def columns_of(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[Column, ...]]:
    columns: dict[str, list[Column]] = defaultdict(list)
    rows = list(rows)
    times: dict[str, list[str]] = defaultdict(list)
    for table, name, data_type, *_ in rows:
        if data_type.lower() == "time":
            times[table].append(name)
    for table, name, data_type, column_type, nullable, charset, collation, precision, scale, extra, *generated in rows:
        expression, kind, written = (generated[0] if generated else None), data_type.lower(), column_type.lower()
        columns[table].append(
            Column(
                name=name,
                data_type=kind,
                column_type=column_type if written.startswith(("enum", "set")) else written,
                nullable=nullable == "YES",
                charset=charset,
                collation=collation,
                precision=None if precision is None else int(precision),
                scale=None if scale is None else int(scale),
                extra=extra or "",
                depends_on=_depends_on(extra or "", expression, kind, times[table]),
            )
        )
    return defaultdict(tuple, {table: tuple(found) for table, found in columns.items()})


def indexes_of(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[Index, ...]]:
    indexes: dict[str, dict[str, Index]] = defaultdict(dict)
    for table, name, column, prefix, non_unique, kind in rows:
        before = indexes[table].get(name)
        columns = (*(before.columns if before else ()), (column, None if prefix is None else int(prefix)))
        indexes[table][name] = Index(name, columns, not int(non_unique), kind)
    # An index on an expression has no column to name; a replica can do without it.
    return defaultdict(
        tuple,
        {
            table: tuple(index for index in by_name.values() if all(column for column, _ in index.columns))
            for table, by_name in indexes.items()
        },
    )


def table_of(
    row: tuple[Any, ...],
    flavour: Flavour,
    columns: tuple[Column, ...],
    indexes: tuple[Index, ...],
    update_time_doubts: str,
) -> Table:
    name, engine, collation, rows, data_bytes, row_bytes, update_time, made, partitioned = row
    primary = next((index for index in indexes if index.name == "PRIMARY"), None)
    return Table(
        name=name,
        flavour=flavour,
        engine=engine or "",
        charset=collation.partition("_")[0] if collation else None,
        collation=collation,
        rows=int(rows or 0),
        data_bytes=int(data_bytes or 0),
        row_bytes=int(row_bytes or 0),
        columns=columns,
        primary_key=tuple(column for column, _ in primary.columns) if primary else (),
        indexes=indexes,
        # The parts of a partitioned table have an UPDATE_TIME of their own.
        update_time=None if partitioned else update_time,
        create_time=made,
        update_time_doubted=update_time_doubts if engine == "MyISAM" else "",
        partitioned=bool(partitioned),
    )


def with_exchanges(tables: Mapping[str, Table]) -> dict[str, Table]:
    """
    The tables, with a reason where one of the same columns could have taken the place of another unnoticed: by ALTER
    TABLE … EXCHANGE PARTITION, which moves no time of either; or by RENAME, where both have the same times and rows.
    Tables that are excluded are looked at as well.
    """
    groups: dict[tuple[tuple[object, ...], ...], list[Table]] = defaultdict(list)
    for table in tables.values():
        groups[tuple((c.name, c.column_type, c.collation) for c in table.columns)].append(table)
    found = dict(tables)
    for group in (group for group in groups.values() if len(group) > 1):
        for one in group:
            others = [other for other in group if other is not one]
            found[one.name] = replace(
                one,
                exchangeable=next((why for other in others if (why := _twins(one, other))), ""),
                exchanges_partitions=next((why for other in others if (why := _partitions(one, other))), ""),
            )
    return found


def _partitions(one: Table, other: Table) -> str:
    exchanged = f"a partition may have been exchanged with {other.name}, which moves no time of a table"
    return exchanged if one.partitioned or other.partitioned else ""


def _twins(one: Table, other: Table) -> str:
    times = (one.rows, one.update_time, one.create_time)
    if one.engine == other.engine == "MyISAM" and times == (other.rows, other.update_time, other.create_time):
        return f"{other.name} has the same columns, rows and times, and may have changed names with it"
    return ""
