"""
What is said to PostgreSQL so that a published table follows the source's columns, itself and its views kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arrowetl.model.plan import TablePlan
from arrowetl.sql import diff_name, postgres_literal, postgres_name, postgres_table


def changes(namespace: str, plan: TablePlan, key: str | None) -> list[str]:
    """
    The table's own changes, in the order in which they do not hinder each other.

    Values of a column whose new type does not hold them all become NULL, for the rows to follow in the same
    transaction.

    Args:
        key: what the primary key that is to go is called.
    """
    drift, published, changes = plan.drift, plan.published, list[str]()
    if drift.drops_key and key and published:
        changes.append(f"DROP CONSTRAINT {postgres_name(key)}")
        # A key that is dropped leaves behind that its columns are never NULL.
        stays = [column for column in published.primary_key if column not in drift.dropped]
        changes += [f"ALTER COLUMN {postgres_name(column)} DROP NOT NULL" for column in stays]
    # A column that is reckoned from others was added after them.
    changes += [f"DROP COLUMN IF EXISTS {postgres_name(column)}" for column in reversed(drift.dropped)]
    for field in drift.retyped:
        name, type_ = postgres_name(field.name_postgres), field.type_postgres
        value = name if field in drift.widened else "NULL"
        changes.append(f"ALTER COLUMN {name} TYPE {type_} USING {value}::{type_}")
    target = postgres_table(namespace, plan.name_postgres)
    # A key must be dropped before its columns are altered.
    statements = [f"ALTER TABLE {target} {change}" for change in changes]
    if drift.recreates_table:
        statements.append(recreate_table(namespace, plan.name_postgres, diff_name(plan.name_postgres, plan.run)))
    # If the answer was lost, the statement is sent again.
    changes = [
        f"ADD COLUMN IF NOT EXISTS {postgres_name(field.name_postgres)} {field.type_postgres}" for field in drift.added
    ]
    if published:
        changes += [
            f"ALTER COLUMN {postgres_name(column)} DROP NOT NULL"
            for column in published.not_null
            if column not in drift.dropped
        ]
    return [*statements, *(f"ALTER TABLE {target} {change}" for change in changes)]


def recreate_table(namespace: str, table: str, meanwhile: str) -> str:
    """
    The same table without dropped columns, whose space PostgreSQL never gives back: rows, defaults,
    constraints, indexes, comments, privileges and owner as they were. One that has triggers, policies, heirs or keys
    that point at it stays: PostgreSQL then refuses the column that is too many.

    Args:
        meanwhile: a name that is free.
    """
    name, other = postgres_table(namespace, table), postgres_table(namespace, meanwhile)
    target = postgres_literal(name)
    return f"""DO $arrowetl$ DECLARE
    old CONSTANT oid := {target}::regclass;
    said text[];
    one text;
BEGIN
    LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = old) OR EXISTS (SELECT FROM pg_policy WHERE polrelid = old)
        OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = old OR inhparent = old)
        OR EXISTS (SELECT FROM pg_constraint WHERE confrelid = old) THEN
        RETURN;
    END IF;
    SELECT array_agg(words ORDER BY place) INTO said FROM (
        SELECT 1, format('ALTER TABLE %s ADD CONSTRAINT %I %s', {target}, conname, pg_get_constraintdef(oid))
            FROM pg_constraint WHERE conrelid = old AND contype IN ('p', 'u', 'x')
        UNION ALL SELECT 2, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = old
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = old)
        UNION ALL SELECT 3, format('COMMENT ON TABLE %s IS %L', {target}, obj_description(old, 'pg_class'))
            WHERE obj_description(old, 'pg_class') IS NOT NULL
        UNION ALL SELECT 4, {postgres_literal(_without_defaults(name))}
        UNION ALL SELECT 5, format('GRANT %s%s ON %s TO %s%s', privilege, ' (' || of_column || ')', {target}, who,
            CASE WHEN passes_on THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM ({grants_of("old")}) AS granted(privilege, of_column, who, passes_on)
        UNION ALL SELECT 6, format('ALTER TABLE %s OWNER TO %I', {target}, pg_get_userbyid(relowner))
            FROM pg_class WHERE oid = old
    ) AS again(place, words);
    CREATE TABLE {other} (LIKE {name} INCLUDING ALL EXCLUDING INDEXES);
    INSERT INTO {other} SELECT * FROM {name};
    DROP TABLE {name};
    ALTER TABLE {other} RENAME TO {postgres_name(table)};
    FOREACH one IN ARRAY said LOOP EXECUTE one; END LOOP;
END $arrowetl$"""


def dependents(views: Sequence[str]) -> str:
    """
    The views that block a table's change, and those on them, each after what it depends on: number, name,
    kind, definition, options, owner, comment, and whether it has its rows.
    """
    named = ", ".join(map(postgres_literal, views))
    return f"""
WITH RECURSIVE above(oid, depth) AS (
    SELECT v.oid, 1 FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace
    WHERE n.nspname || '.' || v.relname IN ({named})
    UNION
    SELECT r.ev_class, above.depth + 1 FROM above
    JOIN pg_depend d ON d.refobjid = above.oid AND d.refclassid = 'pg_class'::regclass
        AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> above.oid
)
SELECT c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text, pg_get_viewdef(c.oid),
    array_to_string(c.reloptions, ', '), quote_ident(pg_get_userbyid(c.relowner)), obj_description(c.oid, 'pg_class'),
    c.relispopulated
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT oid, max(depth) AS depth FROM above GROUP BY oid) u ON u.oid = c.oid
ORDER BY u.depth, c.oid"""


def grants_of(view: int | str) -> str:
    """GRANT's words, `ON %s TO` left to be filled: privilege, with its columns; who; whether to pass on."""
    return f"""
SELECT privilege_type, NULL, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    is_grantable FROM pg_class, aclexplode(relacl) WHERE oid = {view} AND grantee <> relowner
UNION ALL
SELECT x.privilege_type, quote_ident(a.attname),
    CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, x.is_grantable
FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = {view}"""


def lost_with(view: int) -> str:
    """What was given to a view, and would be lost with it: in words."""
    return (
        f"SELECT 'trigger ' || quote_ident(tgname) FROM pg_trigger WHERE tgrelid = {view} AND NOT tgisinternal "
        "UNION ALL SELECT 'rule ' || quote_ident(rulename) FROM pg_rewrite "
        f"WHERE ev_class = {view} AND rulename <> '_RETURN' "
        "UNION ALL SELECT 'default of ' || quote_ident(a.attname) FROM pg_attrdef d "
        f"JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = {view} ORDER BY 1"
    )


def comments_of(view: int) -> str:
    return (
        "SELECT quote_ident(a.attname), col_description(a.attrelid, a.attnum) FROM pg_attribute a "
        f"WHERE a.attrelid = {view} AND col_description(a.attrelid, a.attnum) IS NOT NULL"
    )


def indexes_of(view: int) -> str:
    return f"SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = {view}"


def drop_view(name: str, kind: str) -> str:
    return f"DROP {_KINDS[kind]} {name}"


def _without_defaults(name: str) -> str:
    """What a schema's default privileges give to whatever is made, and may have been taken from this view."""
    return (
        "DO $defaults$ DECLARE one record; BEGIN FOR one IN SELECT DISTINCT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE "
        "quote_ident(pg_get_userbyid(grantee)) END AS who FROM pg_class, aclexplode(relacl) "
        f"WHERE oid = {postgres_literal(name)}::regclass AND grantee <> relowner LOOP "
        f"EXECUTE 'REVOKE ALL ON ' || {postgres_literal(name)} || ' FROM ' || one.who; END LOOP; END $defaults$"
    )


_KINDS = {"v": "VIEW", "m": "MATERIALIZED VIEW"}


@dataclass(frozen=True)
class View:
    """A view as it was before it was taken away; names are quoted."""

    oid: int
    name: str
    kind: str
    definition: str
    options: str | None
    owner: str
    comment: str | None
    has_rows: bool = True
    grants: Sequence[tuple[str, str | None, str, bool]] = ()
    comments: Sequence[tuple[str, str]] = ()
    indexes: Sequence[str] = ()


def create_view(view: View) -> list[str]:
    """A view as it was: definition, options, indexes, comments, privileges, owner; with rows, where it had them."""
    name, kind = view.name, _KINDS[view.kind]
    with_options = f" WITH ({view.options})" if view.options else ""
    # PostgreSQL's text of a view's query ends with a semicolon.
    query = view.definition if view.has_rows else f"{view.definition.rstrip().rstrip(';')} WITH NO DATA"
    statements = [f"CREATE {kind} {name}{with_options} AS {query}", _without_defaults(name), *view.indexes]
    if view.comment is not None:
        statements.append(f"COMMENT ON {kind} {name} IS {postgres_literal(view.comment)}")
    statements += [f"COMMENT ON COLUMN {name}.{column} IS {postgres_literal(text)}" for column, text in view.comments]
    for privilege, column, grantee, grantable in view.grants:
        what = f"{privilege} ({column})" if column else privilege
        more = " WITH GRANT OPTION" if grantable else ""
        statements.append(f"GRANT {what} ON {name} TO {grantee}{more}")
    return [*statements, f"ALTER {kind} {name} OWNER TO {view.owner}"]
