"""
What is said to a replica: its tables are made, filled and switched. What is read of such a server is in `source_sql`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from arrowetl.model.dialect import REPLICATED_INDEXES, Flavour
from arrowetl.model.plan import Field, Index, LoadKind, Table, TablePlan
from arrowetl.sql import deleted_keys_name, is_ours, mysql_literal, mysql_name, mysql_table, retired_name, staging_name
from arrowetl.types.mapping import replica_type, rule_of
from arrowetl.types.to_infile import DIALECT


def create_replica(
    database: str, name: str, plan: TablePlan, replica: Flavour, collations: Mapping[str, str], indexed: bool = False,
    engine: str = "InnoDB",
) -> str:  # fmt: skip
    """
    The replica's table, with its primary key.

    Args:
        collations: every collation the replica knows → its character set.
        indexed: whether it has the other indexes from the beginning.
        engine: another one where the table's columns are too wide for InnoDB.
    """
    lines = [_column(field, plan, replica, collations) for field in plan.fields]
    if plan.key_fields:
        lines.append(_primary_key(plan.table))
    lines += _secondary(plan, replica=replica) if indexed else []
    text = _charset(plan.table.charset, plan.table.collation, collations)
    rows = _ROWS if engine == "InnoDB" else ""
    return f"CREATE TABLE {mysql_table(database, name)} ({', '.join(lines)}) ENGINE={engine}{text}{rows}"


# Whatever the server's default: others take 767 bytes of an index alone. Older servers do not know it.
_ROWS = " /*!50709 ROW_FORMAT=DYNAMIC */ /*M!100202 ROW_FORMAT=DYNAMIC */"


def _column(field: Field, plan: TablePlan, replica: Flavour, collations: Mapping[str, str]) -> str:
    column = field.column
    type_ = replica_type(field, plan.table.flavour, replica)
    text = _charset(column.charset, column.collation, collations) if column.charset else ""
    # Without a default of its own, an old server gives a timestamp ON UPDATE CURRENT_TIMESTAMP.
    null = " NULL" if column.nullable else " NOT NULL"
    default = " DEFAULT '1970-01-01 00:00:01'" if column.data_type == "timestamp" and not column.nullable else ""
    return f"{mysql_name(column.name)} {type_}{text}{null}{default}"


def _primary_key(table: Table) -> str:
    prefixes: dict[str, int | None] = dict(next((i.columns for i in table.indexes if i.name == "PRIMARY"), ()))
    return f"PRIMARY KEY ({', '.join(_index_column(name, prefixes.get(name)) for name in table.primary_key)})"


def other_collations(plan: TablePlan, collations: Mapping[str, str]) -> list[str]:
    """Columns that a server which knows these collations has in another than the source, in words."""
    notes = []
    for field in plan.fields:
        charset, collation = field.column.charset, field.column.collation
        if not charset or not collation:
            continue
        there, found = _text(charset, collation, collations)
        if found and found != f"{there}_{collation.partition('_')[2]}" and found != collation:
            notes.append(f"column {field.column.name} is in {found} at the replica, which has no {collation}")
    return notes


def _index_column(name: str, prefix: int | None) -> str:
    return mysql_name(name) + (f"({prefix})" if prefix else "")


COLLATIONS = (
    "SELECT COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS "
    # MariaDB's newest are of several character sets, and have a full name with each.
    "/*M!101001 UNION SELECT FULL_COLLATION_NAME, CHARACTER_SET_NAME "
    "FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY */"
)
"""Every collation that a server knows, and its character set."""


def known_charset(charset: str, known: Mapping[str, str]) -> str | None:
    """What a server calls a character set; None where it has none such."""
    other = {"utf8": "utf8mb3", "utf8mb3": "utf8"}.get(charset)
    return next((name for name in (charset, other) if name in known.values()), None)


def _charset(charset: str | None, collation: str | None, known: Mapping[str, str]) -> str:
    """
    CHARACTER SET and COLLATE clauses that the replica understands.

    `utf8` became `utf8mb3`; a collation the replica lacks becomes the nearest that it has, and never one that takes
    more letters for the same: what was a key of its own stays one.
    """
    if not charset:
        return ""
    there, exact = _text(charset, collation or "", known)
    return f" CHARACTER SET {there}" + (f" COLLATE {exact}" if exact else "")


def _text(charset: str, collation: str, known: Mapping[str, str]) -> tuple[str, str | None]:
    """The character set, and the collation, that a server has in the place of these."""
    there = known_charset(charset, known) or "utf8mb4"
    return there, nearest_collation(there, collation, known)


def nearest_collation(charset: str, collation: str, known: Collection[str]) -> str | None:
    """
    What a server that lacks a collation has instead: the same rules of another version, or else a binary one, to which
    no two texts are the same that were not.

    >>> nearest_collation("utf8mb4", "utf8mb4_0900_ai_ci", {"utf8mb4_uca1400_nopad_ai_ci", "utf8mb4_bin"})
    'utf8mb4_uca1400_nopad_ai_ci'
    >>> nearest_collation("utf8mb4", "utf8mb4_uca1400_ai_ci", {"utf8mb4_general_ci", "utf8mb4_nopad_bin"})
    'utf8mb4_nopad_bin'
    """
    ending = collation.partition("_")[2]
    if (same := f"{charset}_{ending}") in known:
        return same
    language = re.sub(r"_?(?:0900|uca1400|nopad|ai|as|ci|cs)(?=_|$)", "", ending).strip("_")
    kind = "".join(f"_{word}" for word in re.findall(r"(?:^|_)(ai|as|ci|cs)(?=_|$)", ending))
    pads = "0900" not in ending and "nopad" not in ending
    middle = f"_{language}" if language else ""
    wanted = [
        f"uca1400{middle}{'' if pads else '_nopad'}{kind}",
        *([] if pads else [f"{language + '_' if language else ''}0900{kind}"]),
        # To all of these two texts are the same only where they are so bit for bit, but for trailing blanks.
        "nopad_bin",
        "0900_bin",
        "bin",
    ]
    return next((name for one in wanted if (name := f"{charset}_{one}") in known), None)


def index_names(database: str, table: str) -> str:
    return (
        "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS "
        f"WHERE TABLE_SCHEMA = {mysql_literal(database)} AND TABLE_NAME = {mysql_literal(table)}"
    )


def add_indexes(
    database: str, name: str, plan: TablePlan, present: Collection[str] = (), replica: Flavour = Flavour.MARIADB
) -> str | None:
    """All secondary indexes that are not present in one statement, after the data; None where there are none."""
    clauses = ", ".join(f"ADD {clause}" for clause in _secondary(plan, present, replica))
    return f"ALTER TABLE {mysql_table(database, name)} {clauses}" if clauses else None


def indexes_left_out(plan: TablePlan, replica: Flavour) -> list[str]:
    """Unique keys that the replica's server cannot have, in words."""
    names = [index.name for index in plan.table.indexes if _is_unique_hash(index)] if replica is Flavour.MYSQL else []
    return [f"its unique key {name} is not at the replica: MySQL has none over full texts" for name in names]


def _is_unique_hash(index: Index) -> bool:
    """Of full texts, only MariaDB has unique keys, by a hash of its own."""
    return index.kind == "HASH" and index.unique


def _secondary(plan: TablePlan, present: Collection[str] = (), replica: Flavour = Flavour.MARIADB) -> list[str]:
    kept, there = {field.column.name for field in plan.fields}, {"PRIMARY", *present}
    # Values that are masked in part are the same more often, and so are the beginnings of hashes.
    masks = {field.column.name: field.mask for field in plan.fields}
    indexes = [
        index
        for index in plan.table.indexes
        if index.name not in there
        and kept.issuperset(dict(index.columns))
        and not (_is_unique_hash(index) and replica is Flavour.MYSQL)
        and not (index.unique and any(masks[n] == "partial" or (masks[n] and p) for n, p in index.columns))
    ]
    return [clause for clause in map(_index_clause, indexes) if clause]


def _index_clause(index: Index) -> str:
    if index.kind not in REPLICATED_INDEXES:
        return ""
    word = "FULLTEXT INDEX" if index.kind == "FULLTEXT" else "UNIQUE INDEX" if index.unique else "INDEX"
    columns = ", ".join(_index_column(n, p if index.kind != "FULLTEXT" else None) for n, p in index.columns)
    return f"{word} {mysql_name(index.name)} ({columns})"


def load_data(
    database: str, name: str, fields: Sequence[Field], path: str, replica: Flavour, replaces: bool = False
) -> str:
    """
    LOAD DATA of one spill.

    Without REPLACE a value that does not fit draws a warning and no error, whatever the SQL mode, and a row with a
    key that is there already is left out with one: the caller rolls back what drew any. REPLACE looks for such a
    row before each: 12% more of the server's time.

    Args:
        replaces: whether a row replaces one with its key.
    """
    columns, assignments = [], []
    for index, field in enumerate(fields):
        load = rule_of(field).load
        if load == "{v}":
            columns.append(mysql_name(field.column.name))
        else:
            columns.append(f"@c{index}")
            assignments.append(f"{mysql_name(field.column.name)} = {load.format(v=f'@c{index}')}")
    setting = f" SET {', '.join(assignments)}" if assignments else ""
    how = "REPLACE" if replaces else "IGNORE"
    return (
        f"LOAD DATA LOCAL INFILE {mysql_literal(path)} {how} INTO TABLE {mysql_table(database, name)} "
        f"CHARACTER SET {_file_charset(fields, replica)} {DIALECT} ({', '.join(columns)}){setting}"
    )


def _file_charset(fields: Iterable[Field], replica: Flavour) -> str:
    """
    The character set of the file, which can express no more than its columns can hold.

    A text of the file's own character set is not converted: 5% of the server's time. MySQL 8 and later warn of utf8,
    whatever it is called. MySQL's json is of no character set, and holds what utf8mb4 does.
    """
    texts = {"utf8mb4" if field.column.data_type == "json" else field.column.charset for field in fields}
    return "utf8" if replica is Flavour.MARIADB and texts <= {None, "utf8", "utf8mb3"} else "utf8mb4"


def create_deleted_keys_table(database: str, plan: TablePlan, replica: Flavour, collations: Mapping[str, str]) -> str:
    """The staging table for keys that are to be deleted; the columns as the published table has them."""
    # No CREATE … SELECT, which a replica with global transaction identifiers refuses, and a key, which one may demand.
    deleted_keys = mysql_table(database, deleted_keys_name(plan.name, plan.run))
    lines = [_column(field, plan, replica, collations) for field in plan.key_fields]
    return f"CREATE TABLE {deleted_keys} ({', '.join([*lines, _primary_key(plan.table)])}) ENGINE=InnoDB{_ROWS}"


def merge_replica(
    database: str, plan: TablePlan, row_checksums: tuple[str, str], in_place: bool = True
) -> Mapping[str, str]:
    """
    Make staged rows and keys those of the published table, for one transaction.

    A row is changed in place, so that only indexes of changed columns are touched. Where there is a
    second unique key, whose values rows may have exchanged, all changed rows are deleted before they are inserted.

    Args:
        row_checksums: of a published row `t` and a staged row `s`.
        in_place: whether the published table has no other unique key.
    """
    target, staged, deleted_keys = (
        mysql_table(database, name)
        for name in (plan.name, staging_name(plan.name, plan.run), deleted_keys_name(plan.name, plan.run))
    )
    key = [mysql_name(name) for name in plan.table.primary_key]
    columns = ", ".join(mysql_name(field.column.name) for field in plan.fields)

    def matching(right: str) -> str:
        return " AND ".join(f"t.{name} = {right}.{name}" for name in key)

    same = f"{row_checksums[0]} = {row_checksums[1]}"
    # Rows that were staged by their timestamp, and deleted while the rest was compared. Of other keys than integers, a
    # deleted key may be the same to a collation as the one that came in its place.
    unstaged = {"unstaged": f"DELETE t FROM {staged} t JOIN {deleted_keys} g ON {matching('g')}"}
    if not in_place:
        written = {
            "updated": f"DELETE t FROM {target} t JOIN {staged} s ON {matching('s')}",
            "inserted": f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {staged}",
        }
    else:
        names = [mysql_name(field.column.name) for field in plan.fields]
        new = f"NOT EXISTS (SELECT 1 FROM {target} t WHERE {matching('s')})"
        written = {
            "updated": f"UPDATE {target} t JOIN {staged} s ON {matching('s')} "
            f"SET {', '.join(f't.{name} = s.{name}' for name in names)}",
            "inserted": f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {staged} s WHERE {new}",
        }
    return {
        **(unstaged if plan.kind is LoadKind.INCREMENTAL else {}),
        "equal": f"DELETE s FROM {staged} s JOIN {target} t ON {matching('s')} WHERE {same}",
        "deleted": f"DELETE t FROM {target} t JOIN {deleted_keys} g ON {matching('g')}",
        **written,
    }


def other_unique_keys(database: str, table: str) -> str:
    """How many unique keys a table has besides its primary one."""
    return (
        f"SELECT COUNT(DISTINCT INDEX_NAME) FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 "
        f"AND TABLE_SCHEMA = {mysql_literal(database)} AND TABLE_NAME = {mysql_literal(table)} "
        "AND INDEX_NAME <> 'PRIMARY'"
    )


def names(database: str) -> str:
    """Of its tables, and of views, which may be in the place of one; none of a database that is not there."""
    return f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {mysql_literal(database)}"


def definition(database: str, table: str) -> str:
    """
    How the server would make a table again.

    Not by information_schema.COLUMNS, for which it makes a temporary file each time: 2 ms of its core for each of
    381 tables that had just been made.
    """
    return f"SHOW CREATE TABLE {mysql_table(database, table)}"


def triggers(database: str) -> str:
    """Table, and a trigger of it, in one text."""
    return (
        "SELECT EVENT_OBJECT_TABLE, CONCAT_WS('#', TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT) "
        f"FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {mysql_literal(database)}"
    )


def shape(definition: str, triggers: Iterable[str] = ()) -> str:
    """
    A digest of what the server says of a table's columns, its primary key and its triggers; whatever else belongs to
    the table, an index say, may be another.
    """
    lines = [line.strip().rstrip(",") for line in _QUOTED.sub(_in_one_line, definition).split("\n")[1:]]
    end = next((number for number, line in enumerate(lines) if line.startswith(")")), len(lines))
    columns = [line for line in lines[:end] if not line.startswith(_NO_COLUMN)]
    # A column that has the table's own character set and collation is shown without either.
    own = _TABLES_TEXT.findall(" ".join(lines[end:]))[:1]
    return hashlib.sha256(repr((columns, own, sorted(triggers))).encode()).hexdigest()[:16]


# Comments, names and texts.
_QUOTED = re.compile(r"( COMMENT[ =])?'(?:[^'\\]|''|\\.)*'|`(?:[^`]|``)*`", re.DOTALL)
# A column's line begins with its name, in backticks. (No pattern: of 381 tables there are 11,000 lines at each run.)
_NO_COLUMN = ("UNIQUE ", "FULLTEXT ", "SPATIAL ", "VECTOR ", "KEY ", "INDEX ", "CONSTRAINT ", "CHECK ")
_TABLES_TEXT = re.compile(r" (?:DEFAULT )?CHARSET=\w+(?: COLLATE=\w+)?")


def _in_one_line(quoted: re.Match[str]) -> str:
    """A name as it is, on one line; nothing of a comment."""
    return "" if quoted[1] else quoted[0].replace("\n", "\\n")


def pointing(database: str) -> str:
    """Foreign keys that point at tables of a database: at which, of which table, and the key's name."""
    return (
        "SELECT DISTINCT REFERENCED_TABLE_NAME, TABLE_NAME, CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE "
        f"WHERE REFERENCED_TABLE_SCHEMA = {mysql_literal(database)}"
    )


def swap_replica(database: str, plan: TablePlan, exists: bool) -> str:
    """Staging into place, in one atomic RENAME."""
    published = mysql_table(database, plan.name)
    pairs = [f"{published} TO {mysql_table(database, retired_name(plan.name, plan.run))}"] if exists else []
    pairs.append(f"{mysql_table(database, staging_name(plan.name, plan.run))} TO {published}")
    return f"RENAME TABLE {', '.join(pairs)}"


def mysql_count(database: str, table: str) -> str:
    return f"SELECT COUNT(*) FROM {mysql_table(database, table)}"


def mysql_count_changed(database: str, table: str) -> str:
    """
    The same of a table that this transaction has changed: by its rows.

    By the smallest index, as the server would, each entry on a page with a change is looked up among the rows: 9 of
    a run's 28 s, for two tables of 705,000 rows of which 0.5% were changed.
    """
    return f"{mysql_count(database, table)} FORCE INDEX (PRIMARY)"


def drop_mysql(database: str, name: str) -> str:
    return f"DROP TABLE IF EXISTS {mysql_table(database, name)}"


def drop_retired(database: str, name: str) -> tuple[str, str]:
    """What was in a table's place: a view, if somebody has made one of that name."""
    return drop_mysql(database, name), f"DROP VIEW IF EXISTS {mysql_table(database, name)}"


def leftovers_mysql(database: str) -> str:
    return (
        "SELECT TABLE_NAME FROM information_schema.TABLES "
        f"WHERE TABLE_SCHEMA = {mysql_literal(database)} AND {is_ours('TABLE_NAME')}"
    )
