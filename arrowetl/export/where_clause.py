"""
What a person writes after --where → the same condition in a server's words, or why it is refused.

Pure. Nothing of the text itself is passed on: it is read into a tree, of which
only comparisons of columns with values, and what joins them, are let through;
names and values are written again, quoted. `snapshot` decides what it is applied
to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlglot
from sqlglot import exp

from arrowetl.errors import UsageError, did_you_mean
from arrowetl.sql import mysql_ascii_literal, mysql_name, postgres_literal, postgres_name

_JOINED: dict[type[exp.Expression], str] = {
    exp.And: "AND", exp.Or: "OR", exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
    exp.Like: "LIKE",
}  # fmt: skip
# What each kind of node may hold: of one that holds more, the rest would be lost.
_KNOWN: dict[type[exp.Expression], frozenset[str]] = {
    **dict.fromkeys((exp.Paren, exp.Not, exp.Neg, exp.Column, exp.Boolean), frozenset({"this"})),
    **dict.fromkeys((*_JOINED, exp.Is), frozenset({"this", "expression"})),
    exp.Like: frozenset({"this", "expression", "negate"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.In: frozenset({"this", "expressions"}),
    exp.Between: frozenset({"this", "low", "high"}),
    exp.Null: frozenset(),
}
_MEANT = (
    "compare columns with values by =, <>, <, <=, >, >=, LIKE, IN (…), BETWEEN … AND … and IS NULL, joined by AND, OR "
    "and NOT; texts are in single quotes"
)


def read(text: str) -> exp.Expression:
    """
    The tree of a condition.

    Raises:
        UsageError: it is no condition, or more than one.
    """
    try:
        statements = sqlglot.parse(f"SELECT 1 FROM t WHERE {text}", dialect="mysql")
    except sqlglot.errors.SqlglotError as error:
        raise UsageError(f"--where: no condition: {text}", _MEANT) from error
    (*_, last) = statements or [None]
    where = last.args.get("where") if isinstance(last, exp.Select) else None
    clauses = {name for name, value in last.args.items() if value} if isinstance(last, exp.Select) else set()
    if len(statements) != 1 or where is None or not clauses <= {"expressions", "from_", "from", "where", "kind"}:
        raise UsageError(f"--where: more than a condition: {text}", _MEANT)
    condition: exp.Expression = where.this
    return condition


def in_mysql(tree: exp.Expression, columns: Mapping[str, str]) -> str:
    """
    The condition for the source or the replica.

    Args:
        columns: those that may be asked about, and their names there.

    Raises:
        UsageError: it names another column, or is more than comparisons.
    """
    return _said(tree, columns, mysql_name, mysql_ascii_literal)


def in_postgres(tree: exp.Expression, columns: Mapping[str, str]) -> str:
    """The same for the warehouse."""
    return _said(tree, columns, postgres_name, postgres_literal)


def _said(
    node: exp.Expression, columns: Mapping[str, str], quoted: Callable[[str], str], literal: Callable[[str], str]
) -> str:
    def said(one: exp.Expression) -> str:
        return _said(one, columns, quoted, literal)

    if not _holds_no_more(node):
        raise _refused(node)
    match node:
        case exp.Paren():
            return f"({said(node.this)})"
        case exp.Not():
            return f"NOT ({said(node.this)})"
        case exp.Neg() if isinstance(node.this, exp.Literal) and not node.this.is_string:
            return f"-{said(node.this)}"
        case exp.Column() if not node.table and isinstance(node.this, exp.Identifier):
            return quoted(_known(node.name, columns))
        case exp.Literal():
            return literal(node.name) if node.is_string else _number(node)
        case exp.Boolean():
            return "TRUE" if node.this else "FALSE"
        case exp.Is() if isinstance(node.expression, exp.Null):
            return f"{said(node.this)} IS NULL"
        case exp.In() if node.expressions and not node.args.get("query"):
            return f"{said(node.this)} IN ({', '.join(map(said, node.expressions))})"
        case exp.Between():
            return f"{said(node.this)} BETWEEN {said(node.args['low'])} AND {said(node.args['high'])}"
    for kind, words in _JOINED.items():
        if type(node) is kind:
            negated = "NOT " if node.args.get("negate") else ""
            return f"({said(node.this)} {negated}{words} {said(node.expression)})"
    raise _refused(node)


def _holds_no_more(node: exp.Expression) -> bool:
    known = _KNOWN.get(type(node))
    return known is not None and {name for name, value in node.args.items() if value not in (None, False, [])} <= known


def _refused(node: exp.Expression) -> UsageError:
    return UsageError(f"--where: cannot be asked: {node.sql(dialect='mysql', comments=False)}", _MEANT)


def _number(node: exp.Literal) -> str:
    try:
        float(node.name)
    except ValueError as error:
        raise UsageError(f"--where: no number: {node.name}", _MEANT) from error
    return node.name


def _known(name: str, columns: Mapping[str, str]) -> str:
    # MySQL's column names are the same in any case.
    found = next((column for column in columns if column.lower() == name.lower()), None)
    if found is None:
        raise UsageError(
            f"--where: no column {name} that may be asked about{did_you_mean(name, columns, most=3)}",
            "columns that arrowetl.yml masks or excludes may not be asked about either",
        )
    return columns[found]
