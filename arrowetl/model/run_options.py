"""
What a person asks of a run, or of a verification: from the command line, from Python, of one clinic or of many.

Both check themselves when they are made; nothing between here and what is done spells the options again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from arrowetl import limits
from arrowetl.errors import UsageError
from arrowetl.model.connection import CATEGORIES, DESTINATIONS, EXECUTORS, PUBLISHING, is_executor
from arrowetl.model.state import RangesToRepair


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """
    Exactly one of `tables`, `category` and `all` says which tables.

    Raises:
        UsageError: what is asked cannot be.
    """

    tables: Sequence[str] = ()
    """Their names, or globs."""
    category: str | Sequence[str] | None = None
    """One or several of `large`, `medium`, `small`, `tiny`."""
    all: bool = False
    """Every table that tables.yml does not exclude."""
    exclude: Sequence[str] = ()
    """Of these, not: their names, or globs."""
    force_full: bool = False
    """Read every row, whatever is known of a table."""
    read_from: str = "source"
    """`replica` fills the warehouse without touching the source."""
    to: str = "both"
    """`both`, `replica` or `warehouse`: which targets are written."""
    max_workers: int = limits.workers_default
    executor: str | None = None
    """`thread`, `process` or `dask:ADDRESS` of a scheduler; None is as tables.yml chooses."""
    max_source_connections: int | None = None
    """At once, at most; None is as tables.yml chooses."""
    strict: bool = False
    """Whether what is only flagged, coercions and unsettled reads among it, makes the exit code 1."""
    publish: str = "each"
    """
    `each` table when it is ready, or `together`: all in one transaction of the warehouse, when all are staged and
    compared; with `strict` none where one failed.
    """
    compared: Mapping[str, RangesToRepair] = field(default_factory=dict)
    """Table → what a comparison found of it just now; only what differs is to be read of these."""

    def __post_init__(self) -> None:
        if sum([bool(self.tables), bool(self.category), self.all]) != 1:
            raise UsageError(
                "which tables are meant?", "choose TABLE..., --category SIZE or --all: exactly one of the three"
            )
        if unknown := [one for one in self.categories if one not in CATEGORIES]:
            raise UsageError(f"no category {', '.join(map(repr, unknown))}", f"one of: {', '.join(CATEGORIES)}")
        if self.read_from not in ("source", "replica"):
            raise UsageError(f"cannot read from {self.read_from!r}", "read from the source or from the replica")
        refuse_unknown_destination(self.to)
        if self.read_from == "replica" and self.to == "replica":
            raise UsageError("the replica cannot be written from the replica", "leave out --to, or --from")
        refuse_unknown_executor(self.executor)
        if self.publish not in PUBLISHING:
            raise UsageError(f"cannot publish {self.publish!r}", f"one of: {', '.join(PUBLISHING)}")
        if self.publish == "together" and self.to == "replica":
            raise UsageError("tables are published together at the warehouse", "leave out --publish, or --to")
        worker_count(self.max_workers)
        if self.max_source_connections is not None and self.max_source_connections < 1:
            raise UsageError(f"--max-source-connections must be 1 or more, got {self.max_source_connections}")

    @property
    def categories(self) -> tuple[str, ...]:
        return (self.category,) if isinstance(self.category, str) else tuple(self.category or ())

    @property
    def route_label(self) -> str:
        return route_label(self.read_from, self.to)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """
    Raises:
        UsageError: what is asked cannot be.
    """

    tables: Sequence[str] = ()
    """Their names, or globs; all, where none is named."""
    exclude: Sequence[str] = ()
    """Of these, not."""
    deep: bool = False
    """Compare every value, and not checksums."""
    changed: bool = False
    """Read only what changed since the last verification, and trust its checksums for the rest."""
    repairs: bool = False
    """Reload what differs, and compare it again."""
    show_values: bool = False
    """Show the values that differ, and not their digests alone."""
    max_workers: int = limits.workers_default

    def __post_init__(self) -> None:
        worker_count(self.max_workers)
        if self.deep and self.changed:
            raise UsageError("--changed trusts checksums, and --deep asks for values", "leave out one of them")


def route_label(read_from: str = "source", to: str = "both") -> str:
    """The route as text: what was learned on one route is not used on another."""
    return f"{read_from} to {to}"


def worker_count(workers: int) -> int:
    """
    Raises:
        UsageError: fewer than one, or more than a machine can mean.
    """
    if not 1 <= workers <= limits.workers_max:
        raise UsageError(f"--max-workers must be 1 … {limits.workers_max}, got {workers}")
    return workers


def refuse_unknown_executor(name: str | None) -> None:
    """
    Raises:
        UsageError: it is none of those there are; None is as tables.yml chooses.
    """
    if name is not None and not is_executor(name):
        raise UsageError(f"no executor {name!r}", f"one of: {', '.join(EXECUTORS)}")


def refuse_unknown_destination(to: str) -> None:
    """
    Raises:
        UsageError: nothing is written there.
    """
    if to not in DESTINATIONS:
        raise UsageError(f"cannot write to {to!r}", f"one of: {', '.join(DESTINATIONS)}")
