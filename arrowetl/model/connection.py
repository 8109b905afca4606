"""
The nouns of a run's route: the servers, tables.yml's settings for all tables, from where to where.

Frozen values, as in `plan`, which has the nouns of tables. `env` and
`tables_yml` make them; a worker needs no more than a route to reach the
servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arrowetl import limits

MASK_KEY_VARIABLE = "ARROWETL_MASK_KEY"
MASK_KEY_CHARACTERS_MIN = 16
VARIABLES = {"source": "OPENDENTAL_SOURCE", "replica": "MYSQL_REPLICATION", "warehouse": "POSTGRES_ANALYTICS"}
"""Server's name → what the names of its settings begin with."""
EQUALS = {
    "source": ("OPENDENTAL_SOURCE", "ARROWETL_SOURCE"),
    "replica": ("MYSQL_REPLICATION", "ARROWETL_REPLICA"),
    "warehouse": ("POSTGRES_ANALYTICS", "ARROWETL_WAREHOUSE"),
}
"""The same, and what means the same: not every source is OpenDental's."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server and one database on it, and how to reach them."""

    name: str
    """`source`, `replica` or `warehouse`."""
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    namespace: str = ""
    """PostgreSQL's schema; empty for MySQL."""
    ssl_mode: str = "preferred"
    """The mode a connection must use."""
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    """The certificate that this client shows to PostgreSQL, and its key."""
    ssl_key: str | None = None
    socket: str = ""
    """The path of MySQL's unix socket; empty where it is reached by its host and port."""
    by_url: bool = False
    """Whether where it is was said as one URL."""
    variables: str = ""
    """What the names of its settings begin with; empty is `VARIABLES`' of it."""
    connect_seconds: int = limits.connect_seconds
    silence_seconds: int = limits.silence_seconds
    """In which a statement must be answered, where the server knows no limit of its own; 0 is never."""
    is_made_later: bool = False
    """Whether its database is not there yet, and is made by the run: what asks of it finds no table."""

    def __str__(self) -> str:
        place = f"{self.database}/{self.namespace}" if self.namespace else self.database
        return f"{self.name} {self.socket or f'{self.host}:{self.port}'}/{place}"

    @property
    def settings(self) -> str:
        """What the names of its settings begin with, for remedies."""
        return self.variables or VARIABLES[self.name]

    def as_json(self) -> dict[str, Any]:
        """As documents name a server: nothing of an account."""
        return {
            "host": self.socket or self.host,
            "port": self.port,
            "database": self.database,
            "schema": self.namespace or None,
        }


SERVERS = ("source", "replica", "warehouse")
CATEGORIES = ("large", "medium", "small", "tiny")
PRIORITIES = ("high", "medium", "low")
STRATEGIES = ("full_table", "incremental", "incremental_chunked")
DESTINATIONS = ("both", "replica", "warehouse")
PUBLISHING = ("each", "together")
"""How tables are switched: each when it is ready, or all in one transaction of the warehouse."""
COMPARISONS = ("auto", "reading", "checksum")
NEW_COLUMNS = ("carry", "quarantine")
MASKS = ("hash", "nullify", "partial")
"""What a column may be masked by: `masking` does it."""
EXECUTORS = ("thread", "process", "dask:tcp://HOST:8786")
"""What may be asked for."""


def is_executor(name: str) -> bool:
    """
    >>> is_executor("process"), is_executor("dask:tcp://host:8786"), is_executor("dask:"), is_executor("ray")
    (True, True, False, False)
    """
    kind, _, address = name.partition(":")
    return "://" in address if kind == "dask" else name in EXECUTORS


@dataclass(frozen=True, slots=True)
class TableSettings:
    """One table's entry of tables.yml, a person's choices over it."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    @property
    def excluded(self) -> bool:
        return bool(self.get("exclude", False))

    def column_types(self) -> dict[str, str]:
        return {name: entry["type"] for name, entry in self.get("columns", {}).items() if "type" in entry}

    def masks(self) -> dict[str, str]:
        return {name: entry["mask"] for name, entry in self.get("columns", {}).items() if "mask" in entry}

    def excluded_columns(self) -> set[str]:
        return {name for name, entry in self.get("columns", {}).items() if entry.get("exclude")}


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What tables.yml chooses for all tables: its `settings`."""

    reconcile_days: int = limits.reconcile_days
    """How often an incremental table is compared in full, in days."""
    reconcile_by: str = "auto"
    """One of `COMPARISONS`."""
    statement_seconds: int = limits.statement_seconds
    """No statement at the source may take longer; 0 sets no limit."""
    source_connections: int | None = None
    """At most so many at once; None follows the number of workers."""
    replica_connections: int | None = None
    """The same at the replica; a run's own records need some of them."""
    warehouse_connections: int | None = None
    pause_milliseconds: int = 0
    """Between two ranges of a table read from the source."""
    business_hours: str | None = None
    """`07:00-18:00`: no table of the source is begun in them."""
    time_zone: str | None = None
    """Whose clock they go by, such as America/Chicago; None is this machine's."""
    executor: str = "thread"
    """One of `EXECUTORS`: who loads partitions."""
    new_columns: str = "carry"
    """One of `NEW_COLUMNS`: what becomes of columns that the last analysis did not know."""


DEFAULT_CHOICES = RunSettings()


@dataclass(frozen=True, slots=True)
class Link:
    """The measured speed of the connection to the source."""

    latency_seconds: float
    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a worker on another machine finds its passwords: they do not travel with the job."""

    environment: str
    """`production` or `test`."""
    prefix: str = ""
    """What the names of a clinic's settings begin with."""
    file: str = ""
    """The name of the file that has them, in ARROWETL_SECRETS_DIR there."""
    file_wins: bool = False
    """Over the environment: a clinic's own file does, an environment is of all clinics."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where one run reads and where it writes: all that a worker must know to reach the servers."""

    run_id: str
    source: Endpoint
    """The source, or the replica that is read in its stead."""
    replica: Endpoint | None
    """None where it is left as it is."""
    warehouse: Endpoint
    spill_directory: Path | None
    """The run's own, where there is a replica to load."""
    choices: RunSettings = DEFAULT_CHOICES
    to: str = "both"
    """One of `DESTINATIONS`."""
    mask_key: bytes | None = field(default=b"", repr=False)
    """Of the masks that hash; empty where there is none. None where what is read is masked already."""

    jobs_elsewhere: int = 0
    """At once, at a cluster's workers."""
    credentials: Credentials | None = None
    """None where no other machine needs them."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(one for one in (self.source, self.replica, self.warehouse) if one)

    def with_endpoints(self, change: Callable[[Endpoint], Endpoint]) -> Route:
        """The same route, to servers with other passwords."""
        replica = self.replica and change(self.replica)
        return replace(self, source=change(self.source), replica=replica, warehouse=change(self.warehouse))

    @property
    def without_secrets(self) -> Route:
        """As anybody may see it."""
        bare = self.with_endpoints(lambda endpoint: replace(endpoint, password=""))
        return replace(bare, mask_key=None if self.mask_key is None else b"")

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the servers that are written."""
        both = ("replica", "warehouse") if self.spill_directory else ("warehouse",)
        return both if self.to == "both" else (self.to,)

    @property
    def from_replica(self) -> Route:
        """The route from the replica to the warehouse, which leaves the source alone."""
        if self.replica is None:
            return self
        choices = replace(DEFAULT_CHOICES, source_connections=self.choices.replica_connections)
        return Route(
            run_id=self.run_id,
            source=self.replica,
            replica=None,
            warehouse=self.warehouse,
            spill_directory=None,
            choices=choices,
            mask_key=None,
            jobs_elsewhere=self.jobs_elsewhere,
            credentials=self.credentials,
        )


def reserved_name(server: str, place: str) -> str:
    """
    Why arrowetl writes nothing into a schema of the warehouse, or a database of the replica; empty where it does.

    >>> reserved_name("warehouse", "pg_catalog"), reserved_name("replica", "replica")
    ("'pg_catalog' is the server's own", '')
    """
    if server == "warehouse":
        own = place.lower().startswith("pg_") or place.lower() == "information_schema"
    else:
        own = server == "replica" and place.lower() in ("mysql", "information_schema", "performance_schema", "sys")
    return f"{place!r} is the server's own" if own else ""
