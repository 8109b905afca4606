"""
What a server's catalog says, as model values.

Pure: rows of `sql.catalog` in, tables out. `source` asks for them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from arrowetl import evidence
from arrowetl.dialect import Flavour
from arrowetl.model import Column, Index, Table


def doubts(habits: Iterable[tuple[Any, ...]]) -> str:
    """Why the server's MyISAM stamps prove nothing, in words; empty where they do."""
    found = {str(name).lower(): str(value) for name, value in habits}
    return evidence.doubts_of_stamps(
        found.get("version_compile_os", ""), found.get("myisam_use_mmap", "OFF") in ("ON", "1")
    )


# What a VIRTUAL column may depend on besides its row: clocks, chance, and who asks.
_NOT_OF_THE_ROW = re.compile(
    r"\b(?:(?:now|sysdate|curdate|curtime|utc_date|utc_time|utc_timestamp|localtime|localtimestamp|rand|"
    r"uuid|uuid_short|sys_guid|random_bytes|connection_id|user|session_user|system_user|current_role|database|schema|"
    r"version|found_rows|row_count|last_insert_id|is_free_lock|is_used_lock|get_lock|sleep|benchmark|load_file)\s*\(|"
    r"unix_timestamp\s*\(\s*\)|current_timestamp|current_date|current_time|current_user)|@@",
    re.IGNORECASE,
)


def _depends_on(extra: str, expression: str | None) -> str:
    """
    What a VIRTUAL column's values depend on besides their row; empty where on nothing.

    >>> _depends_on("VIRTUAL GENERATED", "timestampdiff(YEAR,`Born`,curdate())")
    'curdate()'
    >>> _depends_on("VIRTUAL GENERATED", "`a` + `b`"), _depends_on("STORED GENERATED", "`a` + 1")
    ('', '')
    """
    found = _NOT_OF_THE_ROW.search(_LITERALS.sub("''", expression or "")) if "VIRTUAL" in extra.upper() else None
    return found[0].rstrip("( )").lower() + "()" if found else ""


# Texts and names in which the word is no function.
_LITERALS = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`")


def columns_of(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[Column, ...]]:
    columns: dict[str, tuple[Column, ...]] = defaultdict(tuple)
    for table, name, data_type, column_type, nullable, charset, collation, precision, scale, extra, *generated in rows:
        columns[table] += (
            Column(
                name=name,
                data_type=data_type.lower(),
                column_type=column_type.lower() if not column_type.lower().startswith(("enum", "set")) else column_type,
                nullable=nullable == "YES",
                charset=charset,
                collation=collation,
                precision=None if precision is None else int(precision),
                scale=None if scale is None else int(scale),
                extra=extra or "",
                depends_on=_depends_on(extra or "", generated[0] if generated else None),
            ),
        )
    return columns


def indexes_of(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[Index, ...]]:
    indexes: dict[str, dict[str, Index]] = defaultdict(dict)
    for table, name, column, prefix, non_unique, kind in rows:
        before = indexes[table].get(name)
        columns = (*(before.columns if before else ()), (column, None if prefix is None else int(prefix)))
        indexes[table][name] = Index(name, columns, not int(non_unique), kind)
    # An index upon an expression has no column to name; a replica can do without it.
    return defaultdict(
        tuple,
        {
            table: tuple(index for index in by_name.values() if all(column for column, _ in index.columns))
            for table, by_name in indexes.items()
        },
    )


def table_of(
    row: tuple[Any, ...], flavour: Flavour, columns: tuple[Column, ...], indexes: tuple[Index, ...], doubts: str
) -> Table:
    name, engine, collation, rows, data_bytes, row_bytes, update_time, made = row
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
        update_time=update_time,
        create_time=made,
        stamps_doubted=doubts if engine == "MyISAM" else "",
    )
