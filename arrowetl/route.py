"""
The nouns of a run's way: the servers, what tables.yml chooses for all tables, from where to where.

Frozen values, as in `model`, which has the nouns of tables. `config` and
`tables_file` make them; a worker needs no more than a route to reach the
servers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from arrowetl import limits

VARIABLES = {"source": "OPENDENTAL_SOURCE", "replica": "MYSQL_REPLICATION", "warehouse": "POSTGRES_ANALYTICS"}
"""Server's name → what the names of its settings begin with."""


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
    ssl_ca: str | None = None
    connect_seconds: int = limits.connect_seconds
    """In which a connection must stand."""
    silence_seconds: int = limits.silence_seconds
    """In which a statement must be answered, where the server knows no limit of its own; 0 is never."""

    def __str__(self) -> str:
        place = f"{self.database}/{self.namespace}" if self.namespace else self.database
        return f"{self.name} {self.host}:{self.port}/{place}"


DESTINATIONS = ("both", "replica", "warehouse")
COMPARISONS = ("auto", "reading", "checksum")
NEW_COLUMNS = ("carry", "quarantine")


@dataclass(frozen=True, slots=True)
class Choices:
    """What tables.yml chooses for all tables: its `settings`."""

    reconcile_days: int = limits.reconcile_days
    """Every so often an incremental table is compared whole."""
    reconcile_by: str = "auto"
    """One of `COMPARISONS`."""
    statement_seconds: int = limits.statement_seconds
    """No statement at the source may take longer; 0 sets no limit."""
    source_connections: int | None = None
    """At most so many at once; None follows the number of workers."""
    pause_milliseconds: int = 0
    """Between two ranges of a table read from the source."""
    business_hours: str | None = None
    """`07:00-18:00`, by this machine's clock: no table of the source is begun in them."""
    new_columns: str = "carry"
    """One of `NEW_COLUMNS`: what becomes of columns that the last analysis did not know."""


DEFAULT_CHOICES = Choices()


@dataclass(frozen=True, slots=True)
class Link:
    """How quick the way to the source was found to be."""

    latency_seconds: float
    bytes_per_second: float


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
    choices: Choices = DEFAULT_CHOICES
    to: str = "both"
    """One of `DESTINATIONS`."""
    mask_key: bytes | None = field(default=b"", repr=False)
    """Of the masks that hash; empty where there is none. None where what is read is masked already."""

    @property
    def ends(self) -> tuple[str, ...]:
        """The names of the servers that are written."""
        both = ("replica", "warehouse") if self.spill_directory else ("warehouse",)
        return both if self.to == "both" else (self.to,)

    @property
    def from_replica(self) -> Route:
        """The way from the replica to the warehouse, on which the source is left alone."""
        if self.replica is None:
            return self
        return Route(self.run_id, self.replica, None, self.warehouse, None, mask_key=None)
