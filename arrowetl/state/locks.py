"""
What keeps two runs apart: a lock at each target, held in a session of its own, and who may switch tables there.

A lock whose session was lost is lost in silence: `require_lock` asks the
sessions that hold it, and `take` records at both targets which run may
switch, which `fence` proves again in the transaction of every switch.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from arrowetl import drivers, limits, sql
from arrowetl.errors import ArrowetlError, DatabaseConnectionError, DatabaseQueryError, LockedError, LockLostError
from arrowetl.model.connection import Endpoint
from arrowetl.state import fence_sql


class Locks:
    """
    Those of one run.

    Args:
        replica: None where the run does not use it.
        writes_replica: whether the run switches tables there; so `writes_warehouse`.
    """

    def __init__(
        self,
        replica: drivers.Pool[drivers.MySQL] | None,
        warehouse: drivers.Pool[drivers.Postgres],
        writes_replica: bool,
        writes_warehouse: bool,
    ) -> None:
        self._replica, self._warehouse = replica, warehouse
        self._writes_replica, self._writes_warehouse = writes_replica, writes_warehouse
        self._holding, self._held = threading.Lock(), list[tuple[drivers.Postgres | drivers.MySQL, str]]()
        """The sessions that hold the run's locks, each with the question whether it does."""
        self._asked = -math.inf
        self.lost: LockLostError | None = None
        """That the run's lock was found to be lost."""

    @contextmanager
    def lock(self, run_id: str) -> Iterator[None]:
        """
        Lock other runs out of the targets this run writes, for the length of the block.

        Raises:
            LockedError: another run is active; the message names it.
            DatabaseConnectionError: a pooler gives no client a session of its own.
        """
        with ExitStack() as held:
            warehouse = held.enter_context(self._warehouse.session())
            with self._warehouse.session() as other:
                drivers.require_one_each(warehouse, other)
            number = _number(warehouse.endpoint)
            if not warehouse.rows(f"SELECT pg_try_advisory_lock({number})")[0][0]:
                raise _locked(warehouse.endpoint, warehouse.rows(_holder_of(number)))
            held.callback(_quietly, warehouse.execute, f"SELECT pg_advisory_unlock({number})")
            # Another run that finds the lock taken shows this.
            holder = f"arrowetl run {run_id} on {socket.gethostname()}"[: limits.postgres_name_bytes]
            warehouse.execute(f"SET application_name = {sql.postgres_literal(holder)}")
            self._held = [(warehouse, _holds(number))]
            held.callback(self._held.clear)
            if self._replica:
                replica = held.enter_context(self._replica.session())
                name = sql.mysql_literal(f"arrowetl {sql.lock_number(replica.endpoint.database)}")
                if replica.rows(f"SELECT GET_LOCK({name}, 0)")[0][0] != 1:
                    raise _locked(replica.endpoint, replica.rows(_mysql_holder_of(name)))
                held.callback(_quietly, replica.rows, f"SELECT RELEASE_LOCK({name})")
                self._held.append((replica, _mysql_holds(name)))
            yield

    def require_lock(self, trusted_seconds: float = 0.0) -> None:
        """
        The run still has its locks, as the sessions say that hold them.

        Args:
            trusted_seconds: how long ago they may have said so.

        Raises:
            LockLostError: it has not; then, and ever after.
        """
        with self._holding:
            if not self.lost and time.monotonic() - self._asked >= trusted_seconds:
                found = (_not_held(session, question) for session, question in tuple(self._held))
                self.lost = next((lost for lost in found if lost), None)
                self._asked = time.monotonic()
        if self.lost:
            raise self.lost

    def take(self, run_id: str) -> None:
        """
        From now on this run alone may switch tables: another run's switch is waited for.

        The mark is written by the sessions that hold the locks: one that was ended cannot write it, and take the
        switching from the run that has the lock now.

        Raises:
            LockedError: some run, whose lock was lost, goes on switching a table.
            LockLostError: the lock was lost before this.
        """
        run = sql.run_mark(run_id)
        for holding, _ in tuple(self._held):
            endpoint = holding.endpoint
            is_warehouse = endpoint.name == "warehouse"
            if not (self._writes_warehouse if is_warehouse else self._writes_replica):
                continue
            try:
                holding.execute(fence_sql.taken(endpoint.namespace if is_warehouse else None, run, run_id))
            except DatabaseConnectionError as error:
                self.lost = _lost(endpoint, error.message)
                raise self.lost from error
            except DatabaseQueryError as error:
                waits = error.code in ("55P03", _LOCK_WAIT)
                raise _switching(endpoint) if waits else error from error
            if not is_warehouse:
                self._wait_for_renames(endpoint)
        self.require_lock()

    def _wait_for_renames(self, endpoint: Endpoint) -> None:
        """Whoever began a switch at the replica before the mark was written has ended it."""
        assert self._replica is not None
        # A session of MySQL before 5.7.5 has one lock, and the one that wrote the mark the run's.
        with self._replica.session() as other:
            for lock in fence_sql.switch_locks(endpoint.database):
                if other.rows(fence_sql.switch_has_ended(lock))[0][0] != 1:
                    raise _switching(endpoint)


def _not_held(session: drivers.Postgres | drivers.MySQL, question: str) -> LockLostError | None:
    """That a session has not the lock that it should."""
    try:
        is_held, why = bool(session.rows(question)[0][0]), "another one has its session"
    except ArrowetlError as error:
        is_held, why = False, error.message
    return None if is_held else _lost(session.endpoint, why)


def is_at_work(warehouse: drivers.Postgres, run_id: str) -> bool:
    """Whether a run has its lock: one that was killed has none."""
    holders = warehouse.rows(_holder_of(_number(warehouse.endpoint)))
    return any(str(holder).startswith(f"arrowetl run {run_id} ") for holder, _ in holders)


def _number(warehouse: Endpoint) -> int:
    return sql.lock_number(f"arrowetl {warehouse.database} {warehouse.namespace}")


def _holder_of(number: int) -> str:
    """Who holds one of PostgreSQL's advisory locks, and since when."""
    return (
        "SELECT a.application_name, a.backend_start AT TIME ZONE 'UTC' FROM pg_locks l "
        "JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted "
        f"AND l.classid = {number >> 32} AND l.objid = {number & 0xFFFFFFFF}"
    )


def _mysql_holder_of(lock: str) -> str:
    """The same of one of MySQL's locks; its name as a literal."""
    return (
        "SELECT CONCAT(USER, ' from ', HOST), NOW() - INTERVAL TIME SECOND FROM information_schema.PROCESSLIST "
        f"WHERE ID = IS_USED_LOCK({lock})"
    )


def _holds(number: int) -> str:
    """Whether the session that asks holds one of PostgreSQL's advisory locks."""
    return (
        "SELECT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted "
        f"AND l.pid = pg_backend_pid() AND l.classid = {number >> 32} AND l.objid = {number & 0xFFFFFFFF})"
    )


def _mysql_holds(lock: str) -> str:
    """The same of one of MySQL's locks; its name as a literal."""
    return f"SELECT COALESCE(IS_USED_LOCK({lock}) = CONNECTION_ID(), 0)"


def _quietly(say: Callable[[str], Any], statement: str) -> None:
    # A lock whose session was lost no longer exists; that is no failure of the run.
    with suppress(ArrowetlError):
        say(statement)


def _locked(endpoint: Endpoint, holders: Sequence[tuple[Any, ...]]) -> LockedError:
    who = next((f": {name}, since {since:%Y-%m-%d %H:%M:%S} UTC" for name, since in holders if name and since), "")
    return LockedError(
        f"{endpoint}: another run is at work there{who}",
        "wait for it to end; `arrowetl status` shows what it has done",
    )


def _switching(endpoint: Endpoint) -> LockedError:
    return LockedError(
        f"{endpoint}: a run that has lost its lock is switching a table there, and did not end within "
        f"{limits.lock_seconds} seconds",
        "end that run, or its sessions at the server, and run again",
    )


def _lost(endpoint: Endpoint, why: str) -> LockLostError:
    return LockLostError(
        f"{endpoint}: the run's lock there was lost ({why}); from then on it has switched and recorded nothing",
        "see what ended the session (an administrator, a restart, a limit on idle sessions, the network, a machine "
        "that slept), and run again: what was switched before is recorded, and kept",
    )


_LOCK_WAIT = 1205
