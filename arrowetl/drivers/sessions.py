"""
What every session sets for itself, so that no server decides it for us: one table per language, with reasons.

A setting is sent after connecting: what is asked for while connecting can be
overruled by the server (`init_connect`, a role's own defaults), and refused or
left out by a pooler. It is read back once; a session that differs is not
used. `mysql`, `connectorx`, `postgres` and `adbc` send what is phrased
here; `preflight` shows where a server would have done something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from arrowetl import limits
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.connection import Endpoint


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that a session says."""

    name: str
    value: str
    """As SQL has it."""
    why: str
    """What goes wrong where a server does it differently."""
    shown: str = ""
    """As it is read back; as the value, where it is empty."""
    known_to: str = ""
    """The beginning of the comment that only servers read which know it: `M!100103`, `!50708`; empty is all."""
    set_by: str | None = None
    """What is said in its stead; empty where another one says it too."""
    required: bool = True
    """Whether a session without it is none."""

    @property
    def wanted(self) -> str:
        return (self.shown or self.value).strip("'")


STRICT = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"
"""A writer's: zero dates are data (no NO_ZERO_DATE), id 0 is an id, and a table that asks for InnoDB gets it."""
_NO_LIMIT = "18446744073709551615"
_CUT = "a session that is cut while another server works fails the table, each time"
_LIMITED = "a statement longer than the server's own limit fails, each time"


def mysql(sql_mode: str, statement_seconds: int, writes: bool) -> tuple[Setting, ...]:
    """
    The settings of a session on a MySQL-speaking server.

    Args:
        statement_seconds: after which the server ends a query; 0 is never. MySQL before 5.7.8 and MariaDB before
            10.1.1 know no such limit.
        writes: whether it is of the replica's writer.
    """
    return (
        *_everywhere(),
        Setting("sql_mode", f"'{sql_mode}'", "values are changed, or refused, in transit"),
        Setting(
            name="max_statement_time",
            value=str(statement_seconds),
            why=_LIMITED,
            shown=f"{statement_seconds:.6f}",
            known_to="M!100103",
        ),
        Setting("max_execution_time", str(statement_seconds * 1000), _LIMITED, known_to="!50708"),
        *(_of_a_writer() if writes else ()),
    )


def _everywhere() -> tuple[Setting, ...]:
    return (
        Setting("character_set_client", "'utf8mb4'", "text arrives as ????",
                set_by="NAMES utf8mb4 COLLATE utf8mb4_general_ci"),
        Setting("character_set_results", "'utf8mb4'", "text arrives as ????", set_by=""),
        Setting("character_set_connection", "'utf8mb4'", "names beyond ASCII are not found", set_by=""),
        Setting("collation_connection", "'utf8mb4_general_ci'", "names beyond ASCII are not found", set_by=""),
        Setting("character_set_filesystem", "'binary'", "the file of a LOAD DATA is not found"),
        Setting("time_zone", "'+00:00'", "TIMESTAMPs are of another zone"),
        Setting("autocommit", "1", "a read holds what it has seen until the session ends"),
        Setting("completion_type", "'NO_CHAIN'", "a COMMIT begins another transaction, or ends the session"),
        Setting("sql_select_limit", _NO_LIMIT, "rows beyond the limit are silently left out"),
        Setting("sql_big_selects", "1", "max_join_size refuses questions about large tables"),
        Setting("sql_safe_updates", "0", "a merge without a key in its condition is refused"),
        Setting("sql_auto_is_null", "0", "IS NULL finds rows that are not"),
        Setting("lc_time_names", "'en_US'", "names of days in generated columns are another language's"),
        Setting("default_week_format", "0", "weeks in generated columns are counted differently"),
        Setting("sql_quote_show_create", "1", "foreign keys and grants are not understood"),
        Setting("lock_wait_timeout", str(limits.lock_seconds), "a locked table is waited for without limit"),
        Setting("wait_timeout", str(limits.idle_session_seconds), _CUT),
        Setting("net_read_timeout", str(limits.server_network_seconds), _CUT),
        Setting("net_write_timeout", str(limits.server_network_seconds), _CUT),
        Setting("idle_transaction_timeout", "0", _CUT, known_to="M!100300"),
        Setting("idle_readonly_transaction_timeout", "0", _CUT, known_to="M!100300"),
        Setting("idle_write_transaction_timeout", "0", _CUT, known_to="M!100300"),
        Setting("system_versioning_asof", "DEFAULT", "rows are those of another day", known_to="M!100304"),
        # MySQL 8 and later read table statistics from a cache of up to a day.
        Setting("information_schema_stats_expiry", "0", "a table's change is seen a day late", known_to="!80003"),
    )  # fmt: skip


def _of_a_writer() -> tuple[Setting, ...]:
    return (
        # Foreign keys at the replica: it gets the source's rows, whatever they would do.
        Setting("foreign_key_checks", "0", "a foreign key at the replica changes, or refuses, rows"),
        Setting("unique_checks", "1", "a unique key may hold a value twice"),
        Setting("sql_notes", "1", "what a LOAD DATA changed of a value is not reported"),
        Setting("max_error_count", "64", "why a row was refused is not reported"),
        Setting("innodb_lock_wait_timeout", str(limits.lock_seconds), "locked rows are given up at once"),
    )


def said_to_mysql(settings: Sequence[Setting], writes: bool) -> tuple[str, str]:
    """The two statements that say all of it."""
    said = [(one, f"SESSION {one.name} = {one.value}" if one.set_by is None else one.set_by) for one in settings]
    parts = [_for(one, f", {words}" if number else words) for number, (one, words) in enumerate(said) if words]
    access = "READ WRITE" if writes else "READ ONLY"
    return (
        "SET " + " ".join(parts),
        # Whatever the server's default: SERIALIZABLE would have reads lock what they see.
        f"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, {access}",
    )


def asked_of_mysql(settings: Iterable[Setting]) -> str:
    """The question whose answer is name, value, name, value …, of the settings that the server knows."""
    pairs = [_for(one, f", '{one.name}', @@SESSION.{one.name}") for one in settings]
    return "SELECT 'session', 'ours' " + " ".join(pairs)


def refused_by_mysql(settings: Iterable[Setting]) -> str:
    """A statement that fails (1242) in a session that is not as it was asked to be, where a library reads none back."""
    # A number that is compared as text would be compared as a double.
    wanted = {one: one.wanted if _number(one.wanted) is not None else f"'{one.wanted}'" for one in settings}
    same = " ".join(_for(one, f"AND @@SESSION.{one.name} = {value}") for one, value in wanted.items())
    # A setting is set to what it is already: at the source nothing else is ever said.
    seconds = limits.server_network_seconds
    return f"SET SESSION net_write_timeout = IF(TRUE {same}, {seconds}, (SELECT 1 UNION ALL SELECT 2))"


NOT_AS_SET = 1242
"""MySQL's error number for what `refused_by_mysql` says."""


def _for(one: Setting, words: str) -> str:
    """Words for the servers that know a setting."""
    return f"/*{one.known_to} {words} */" if one.known_to else words


def postgres() -> tuple[Setting, ...]:
    """What a session on the warehouse says."""
    return (
        Setting("client_encoding", "UTF8", "text is converted in transit"),
        Setting("standard_conforming_strings", "on", "a backslash in a name ends a literal"),
        Setting("search_path", "pg_catalog", "another schema's function is called instead of the server's"),
        Setting("TimeZone", "UTC", "timestamps are of another zone"),
        Setting("DateStyle", "ISO, YMD", "dates are not printed as they are compared"),
        Setting("IntervalStyle", "postgres", "times are not printed as they are compared"),
        Setting("extra_float_digits", "1", "floats are not printed to their last digit"),
        Setting("bytea_output", "hex", "bytes are not printed as they are compared"),
        Setting("quote_all_identifiers", "off", "types seem to be others than they are"),
        Setting("statement_timeout", "0", _LIMITED),
        Setting("transaction_timeout", "0", _LIMITED),
        Setting("idle_in_transaction_session_timeout", "0", _CUT),
        Setting("idle_session_timeout", "0", _CUT),
        Setting("lock_timeout", f"{limits.lock_seconds}s", "a locked table is waited for without limit",
                "1min" if limits.lock_seconds == 60 else f"{limits.lock_seconds}s"),
        Setting("default_transaction_read_only", "off", "nothing can be written"),
        Setting("default_transaction_isolation", "read committed", "a merge fails where another session writes"),
        Setting("default_transaction_deferrable", "off", "a read waits for others"),
        Setting("row_security", "on", "rows that a policy hides end a statement"),
        # Our long statements are joins and scans it only delays.
        Setting("jit", "off", "long statements are compiled for longer than they take"),
        # A unix socket has none of these.
        *(
            Setting(name, str(value), "a client whose machine was lost holds its locks for hours", required=False)
            for name, value in limits.server_keepalive.items()
        ),
    )  # fmt: skip


ENCODING = "server_encoding"
"""Of the database: it cannot be set, and is answered all the same."""


def said_to_postgres(settings: Iterable[Setting]) -> str:
    """
    The question that says all of it, and answers with name, the value it now is, and the one it was.

    A version that does not know a setting leaves it out; whatever search_path says, no other function is meant.
    """
    rows = ", ".join(f"('{one.name}', '{one.value}')" for one in settings)
    return (
        "SELECT v.name, pg_catalog.set_config(v.name, v.value, false), v.before FROM ("
        "SELECT name, value, pg_catalog.current_setting(name, true) AS before "
        f"FROM (VALUES {rows}) given(name, value) OFFSET 0) v WHERE v.before IS NOT NULL "
        f"UNION ALL SELECT '{ENCODING}', pg_catalog.current_setting('{ENCODING}'), NULL"
    )


def require(endpoint: Endpoint, settings: Iterable[Setting], found: Mapping[str, str]) -> None:
    """
    Raises:
        DatabaseConnectionError: a session is not as it was asked to be; something between does not pass on
            what is sent, or answers for another server.
    """
    for one in settings:
        if one.required and one.name in found and not is_so(one, found[one.name]):
            raise not_as_set(endpoint, f"{one.name} is {found[one.name]!r}, and was set to {one.wanted!r}")


def not_as_set(endpoint: Endpoint, what: str) -> DatabaseConnectionError:
    return DatabaseConnectionError(
        f"{endpoint}: the session is not as it was asked to be: {what}",
        "connect to the server itself, or to a pooler that keeps one session per client; whatever is between keeps "
        "settings for itself",
        transient=False,
    )


def is_so(one: Setting, found: str) -> bool:
    """Whether what is read back is what was asked for: modes in any order, numbers in any spelling."""
    if one.name == "sql_mode":
        return set(one.wanted.split(",")) == set(found.split(","))
    return found == one.wanted or _number(found) == _number(one.wanted) is not None


def _number(text: str) -> float | None:
    words = {"on": 1.0, "off": 0.0}
    try:
        return words.get(text.lower()) if text.lower() in words else float(text)
    except ValueError:
        return None


def differing_settings(settings: Iterable[Setting], before: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Name, what a server would have done, what our sessions do, and why; of those where that is another thing."""
    return [
        (one.name, before[one.name], one.wanted, one.why)
        for one in settings
        if one.name in before and not is_so(one, before[one.name])
    ]
