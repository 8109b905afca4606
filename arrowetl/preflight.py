"""
Before anything is done: are the servers there, are they the right ones, may we do what we must.

`run` asks what it needs to know; `test-connections` and `validate` show all
of it. Nothing here writes to a server, not even a temporary table.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from arrowetl import drivers, limits, sql
from arrowetl.config import env
from arrowetl.config.env import Settings
from arrowetl.config.tables_yml import TablesFile, examined_tables
from arrowetl.errors import (
    ArrowetlError,
    ConfigurationError,
    DatabaseConnectionError,
    DatabaseQueryError,
)
from arrowetl.model.connection import Endpoint
from arrowetl.model.result import Failure
from arrowetl.replica.loader import folds_names
from arrowetl.source import catalog, source_sql


@dataclass(frozen=True)
class Examined:
    """What `test-connections` found at one server."""

    endpoint: Endpoint
    version: str | None = None
    latency_seconds: float | None = None
    facts: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    """What an administrator of the server could do for more speed."""
    differing_settings: tuple[tuple[str, str, str, str], ...] = ()
    """Setting, what the server would have done, what arrowetl's session does, and why."""
    grants: tuple[str, ...] = ()
    """What an administrator of the server is to say, where the account lacks something."""
    error: ArrowetlError | None = None

    @property
    def good(self) -> bool:
        return self.error is None and not self.problems

    def as_json(self) -> dict[str, Any]:
        """One of the servers of the document `test-connections --json` prints."""
        return {
            "server": self.endpoint.name,
            **self.endpoint.as_json(),
            "good": self.good,
            "version": self.version,
            "latency_milliseconds": None if self.latency_seconds is None else round(self.latency_seconds * 1000, 3),
            "facts": dict(self.facts),
            "problems": list(self.problems),
            "grants": list(self.grants),
            "advice": list(self.advice),
            "session": [
                {"setting": name, "server": there, "arrowetl": ours, "why": why}
                for name, there, ours, why in self.differing_settings
            ],
            "error": self.error and Failure.of(self.error).as_json(),
        }


def open_files(settings: Settings) -> list[str]:
    """Files with passwords that others than their owner may read, in words."""
    path = settings.env_file
    if path is None or os.name != "posix" or not path.is_file() or not path.stat().st_mode & 0o077:
        return []
    if settings.environment == "test":
        # Its passwords are in the repository.
        return []
    return [f"{path} can be read by others than its owner, and has passwords: chmod 600 {path}"]


def reach(*endpoints: Endpoint) -> None:
    """
    Connect to every server at the same time.

    Raises:
        DatabaseConnectionError: some cannot be reached, or refuse; names all of them.
    """
    with ThreadPoolExecutor(len(endpoints)) as pool:
        errors = {
            place: error for place, error in zip(endpoints, pool.map(_reach_one, endpoints), strict=True) if error
        }
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        # Each next to the server that it is of: there are as many of them as servers.
        remedies = [f"{place.name}: {error.remedy}" for place, error in errors.items() if error.remedy]
        raise DatabaseConnectionError(
            "\n".join(error.message for error in errors.values()), "\n".join(remedies) or None
        )


def _reach_one(endpoint: Endpoint) -> ArrowetlError | None:
    try:
        _connect(endpoint).close()
    except ArrowetlError as error:
        return error
    return None


def _connect(endpoint: Endpoint, compares: bool = False) -> drivers.MySQL | drivers.Postgres:
    if endpoint.name == "warehouse":
        return drivers.Postgres(endpoint)
    return drivers.MySQL(endpoint, read_only=endpoint.name == "source", compares=compares)


def require_a_writable_replica(replica: Endpoint) -> None:
    """
    Raises:
        DatabaseQueryError: the replica takes no rows, or not by LOAD DATA LOCAL.
    """
    session = drivers.MySQL(replica)
    try:
        if problems := _unwritable(session):
            what, remedy = problems[0]
            raise DatabaseQueryError(f"{replica}: {what}, and nothing can be loaded", remedy)
    finally:
        session.close()


def _unwritable(session: drivers.MySQL) -> list[tuple[str, str]]:
    """What keeps a replica from being written, and what to do about it."""
    names = "'local_infile', 'read_only', 'super_read_only'"
    variables = dict(session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))
    found = [] if variables.get("local_infile") == "ON" else [("local_infile is off", drivers.LOCAL_INFILE)]
    is_read_only = variables.get("read_only", "OFF") not in ("OFF", "0")
    if variables.get("super_read_only", "OFF") == "ON" or (is_read_only and not _passes_read_only(session)):
        found.append(("read_only is on", drivers.READ_ONLY))
    return found


def _passes_read_only(session: drivers.MySQL) -> bool:
    """Whether the account may write where read_only keeps others from it."""
    grants = " ".join(str(grant) for (grant,) in session.rows("SHOW GRANTS")).upper()
    everywhere = [part for part in grants.split("GRANT ") if " ON *.* " in part]
    may = ("ALL PRIVILEGES", "SUPER", "READ_ONLY ADMIN", "READ ONLY ADMIN", "CONNECTION_ADMIN")
    return any(privilege in part for part in everywhere for privilege in may)


def refuse_same_server(source: Endpoint, replica: Endpoint) -> None:
    """
    Raises:
        ConfigurationError: the replica is the source's own database. Recognised by the servers' identities, and by a
            lock taken at the one and looked for at the other, which costs no write at either.
    """
    left, right = drivers.MySQL(source, read_only=True), drivers.MySQL(replica)
    try:
        folds = any(map(folds_names, (left, right)))
        names = [sql.folded(one.database, folds) for one in (source, replica)]
        token = sql.mysql_literal(f"arrowetl {secrets.token_hex(8)}")
        right.rows(f"SELECT GET_LOCK({token}, 0)")
        seen = left.rows(f"SELECT IS_USED_LOCK({token})")[0][0] is not None
        if names[0] == names[1] and (seen or _identity(left) == _identity(right)):
            raise ConfigurationError(
                f"{replica} and the source are the same database; nothing was written",
                f"point {replica.settings}_HOST, _PORT and _DB at a server and database of your own",
                slug="replica_is_source",
            )
    finally:
        left.close()
        right.close()


def server_name(session: drivers.MySQL) -> str | None:
    """By which a server knows itself; None of one that is too old to have such a name."""
    found = dict(session.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')"))
    return next(iter(sorted(found.values())), None)


def _identity(session: drivers.MySQL) -> Any:
    # Servers that have no name of their own are recognised by the lock alone.
    return server_name(session) or object()


# Server, a setting of it, when another value would be better, and what that would gain.
_ADVICE: tuple[tuple[str, str, Callable[[int], bool], str], ...] = (
    (
        "replica", "innodb_buffer_pool_size", lambda bytes_: bytes_ < limits.buffer_pool_bytes_wanted,
        "an innodb_buffer_pool_size of a quarter of the machine's memory would keep large tables from being read again "
        "while they are indexed",
    ),
    (
        "replica", "innodb_flush_log_at_trx_commit", lambda mode: mode == 1,
        "innodb_flush_log_at_trx_commit = 2 would spare a flush at each commit; what a crash of the machine then "
        "loses, the next run loads again",
    ),
    (
        "warehouse", "max_wal_size", lambda mib: mib < limits.wal_mib_wanted,
        "a max_wal_size of 4GB would keep checkpoints out of a first load",
    ),
)  # fmt: skip


def advice(server: str, facts: Mapping[str, str]) -> tuple[str, ...]:
    """
    What an administrator could set for more speed, of what a server's settings are.

    >>> advice("replica", {"innodb_flush_log_at_trx_commit": "2", "innodb_buffer_pool_size": str(4 * 2**30)})
    ()
    """
    return tuple(
        words
        for name, setting, could_be_better, words in _ADVICE
        if name == server and setting in facts and could_be_better(_number(facts[setting]))
    )


def _number(text: str) -> int:
    """A setting as a number: of switches 0 or 1, of PostgreSQL's sizes MiB."""
    units = {"kB": 1 / 1024, "MB": 1, "GB": 1024, "TB": 1024 * 1024}
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(int(text.removesuffix(unit)) * factor)
    return int(text) if text.isdigit() else int(text == "ON")


def examine(endpoint: Endpoint) -> Examined:
    """Everything `test-connections` shows of one server; a failure is part of it."""
    try:
        session = _connect(endpoint, compares=True)
    except ArrowetlError as error:
        refused = getattr(error.__cause__, "errno", None) in _REFUSED_DATABASES
        return Examined(endpoint, error=error, grants=_grants(endpoint) if refused else ())
    try:
        clock = time.monotonic()
        session.rows("SELECT 1")
        latency = time.monotonic() - clock
        version, facts, problems = _EXAMINATIONS[endpoint.name](session, endpoint)
        advised = advice(endpoint.name, dict(facts))
        grants = _lacking(session, endpoint)
        if grants and not problems:
            problems = [f"{endpoint.user} lacks privileges on {endpoint.database}"]
        return Examined(
            endpoint=endpoint,
            version=version,
            latency_seconds=latency,
            facts=tuple(facts),
            problems=tuple(problems),
            advice=advised,
            differing_settings=tuple(session.differing_settings),
            grants=grants,
        )
    except ArrowetlError as error:
        return Examined(endpoint, error=error)
    finally:
        session.close()


_REFUSED_DATABASES = (1044, 1049)
"""What MySQL says of a database that an account may not enter, or that is not there."""
_REPLICA_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX")


def _grants(endpoint: Endpoint, account: str = "") -> tuple[str, ...]:
    """All that an account needs at a server, as an administrator says it."""
    if endpoint.name == "warehouse":
        names = sql.postgres_name(endpoint.namespace), sql.postgres_name(endpoint.user)
        return (f"CREATE SCHEMA IF NOT EXISTS {names[0]} AUTHORIZATION {names[1]};",)
    account = account or f"{sql.mysql_literal(endpoint.user)}@'%'"
    place = f"{sql.mysql_name(endpoint.database)}.*"
    if endpoint.name == "source":
        return (f"GRANT SELECT ON {place} TO {account};",)
    return (
        f"CREATE DATABASE IF NOT EXISTS {sql.mysql_name(endpoint.database)};",
        f"GRANT {', '.join(_REPLICA_PRIVILEGES)} ON {place} TO {account};",
    )


def _lacking(session: Any, endpoint: Endpoint) -> tuple[str, ...]:
    """What of that this account has not, as far as it can see."""
    if endpoint.name == "warehouse":
        schema = sql.postgres_literal(endpoint.namespace)
        exists = bool(session.rows(f"SELECT 1 FROM pg_namespace WHERE nspname = {schema}"))
        question = f"has_schema_privilege({schema}, 'CREATE')" if exists else _MAY_MAKE_SCHEMAS
        return () if session.rows(f"SELECT {question}")[0][0] else _grants(endpoint)
    grants = [str(grant) for (grant,) in session.rows("SHOW GRANTS")]
    if endpoint.name == "source":
        # Some are granted single tables on purpose: what counts is whether any can be seen.
        database = sql.mysql_literal(endpoint.database)
        question = f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {database}"
        lacks = not session.rows(question)[0][0]
    else:
        has = privileges_on(endpoint.database, grants)
        # What a role has is not said.
        knows = all(" ON " in grant for grant in grants)
        lacks = knows and not {*_REPLICA_PRIVILEGES} <= has and "ALL" not in has
    if not lacks:
        return ()
    user, _, host = str(session.rows("SELECT CURRENT_USER()")[0][0]).rpartition("@")
    return _grants(endpoint, f"{sql.mysql_literal(user)}@{sql.mysql_literal(host)}")[-1:]


_MAY_MAKE_SCHEMAS = "has_database_privilege(current_database(), 'CREATE')"


def privileges_on(database: str, grants: Iterable[str]) -> set[str]:
    r"""
    What grants, as SHOW GRANTS says them, allow in a database; ALL is all of it.

    >>> sorted(privileges_on("rep_a", [r"GRANT SELECT, INSERT ON `rep\_%`.* TO x", "GRANT DROP ON `b`.* TO x"]))
    ['INSERT', 'SELECT']
    """
    found = set[str]()
    for grant in grants:
        if said := re.match(r"GRANT (.*?) ON (\*|`[^`]*`)\.\*", grant):
            privileges = {privilege.strip() for privilege in said[1].split(",")}
            if _is_like(database, said[2].strip("`")):
                found |= {"ALL" if one == "ALL PRIVILEGES" else one for one in privileges}
    return found


def _is_like(name: str, pattern: str) -> bool:
    """Whether a grant means a database: `%` is anything there, `_` one character; a backslash takes that back."""
    if pattern == "*":
        return True
    parts = {"%": ".*", "_": "."}
    tokens = re.findall(r"\\.|.", pattern, re.DOTALL)
    return bool(re.fullmatch("".join(parts.get(one) or re.escape(one[-1]) for one in tokens), name, re.DOTALL))


Examination = Callable[[Any, Endpoint], tuple[str, list[tuple[str, str]], list[str]]]


def _examine_mysql(session: drivers.MySQL, endpoint: Endpoint) -> tuple[str, list[tuple[str, str]], list[str]]:
    version = session.rows("SELECT VERSION()")[0][0]
    wanted = (
        "time_zone",
        "sql_mode",
        "local_infile",
        "max_allowed_packet",
        "innodb_buffer_pool_size",
        "innodb_flush_log_at_trx_commit",
        "myisam_use_mmap",
        "max_connections",
    )
    names = ", ".join(f"'{name}'" for name in wanted)
    variables = dict(session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))
    facts = [(name, str(variables.get(name, ""))) for name in wanted if name in variables]
    facts.insert(0, ("TLS", "on" if session.uses_tls else "off"))
    facts.append(("flavour", session.flavour.value))
    problems = []
    if endpoint.name == "source":
        database = sql.mysql_literal(endpoint.database)
        count = f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {database}"
        tables = session.rows(count)[0][0]
        facts.append(("tables", str(tables)))
        if doubts := catalog.update_time_doubts(session.rows(source_sql.habits())):
            facts.append(("UPDATE_TIME of MyISAM", f"not trusted: {doubts}; tables are compared instead"))
        if not tables:
            problems.append(f"no table of {endpoint.database} can be seen: grant SELECT on it")
    else:
        problems += [f"{what}; {remedy}" for what, remedy in _unwritable(session)]
    return version, facts, problems


def _examine_postgres(session: drivers.Postgres, endpoint: Endpoint) -> tuple[str, list[tuple[str, str]], list[str]]:
    version = str(session.rows("SHOW server_version")[0][0])
    wanted = ("max_connections", "shared_buffers", "max_wal_size", "maintenance_work_mem")
    facts = [(name, str(session.rows(f"SHOW {name}")[0][0])) for name in wanted]
    schema = sql.postgres_literal(endpoint.namespace)
    exists = bool(session.rows(f"SELECT 1 FROM pg_namespace WHERE nspname = {schema}"))
    problems = []
    if exists and not session.rows(f"SELECT has_schema_privilege({schema}, 'CREATE')")[0][0]:
        problems.append(f"no CREATE privilege on schema {endpoint.namespace}: grant it to {endpoint.user}")
    if not exists and not session.rows("SELECT has_database_privilege(current_database(), 'CREATE')")[0][0]:
        problems.append(f"schema {endpoint.namespace} is missing and {endpoint.user} may not create it: create it")
    other = drivers.Postgres(endpoint)
    try:
        drivers.require_one_each(session, other)
    except DatabaseConnectionError as error:
        problems.append(str(error))
    finally:
        other.close()
    facts.append(("schema", f"{endpoint.namespace}" + ("" if exists else " (will be created)")))
    return version, facts, problems


_EXAMINATIONS: dict[str, Examination] = {
    "source": _examine_mysql,
    "replica": _examine_mysql,
    "warehouse": _examine_postgres,
}


def test_connections(settings: Settings) -> list[Examined]:
    """The servers, examined at the same time."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(examine, settings.endpoints.values()))


def validate_tables(settings: Settings) -> tuple[TablesFile | None, list[str]]:
    """What of tables.yml can be used, and every problem of it; None where nothing can."""
    try:
        found, problem = examined_tables(settings.tables_file, settings.chosen)
    except ConfigurationError as error:
        return None, [str(error)]
    problems = [str(problem)] if problem else []
    try:
        if hashed := found.hashed():
            env.require_mask_key(settings, hashed)
    except ConfigurationError as error:
        problems.append(str(error))
    return found, problems


def validate_servers(settings: Settings) -> list[str]:
    """Every problem of the servers at once; empty is good."""
    problems = []
    for examined in test_connections(settings):
        if examined.error:
            problems.append(str(examined.error))
        problems += [f"{examined.endpoint}: {problem}" for problem in examined.problems]
    if "replica" not in settings.endpoints:
        return problems
    try:
        refuse_same_server(settings.endpoint("source"), settings.endpoint("replica"))
    except ConfigurationError as error:
        problems.append(str(error))
    except ArrowetlError:
        pass  # which of the two cannot be reached was reported above
    return problems
