"""
The reading side: a MySQL or MariaDB server from which nothing is ever taken but rows.

The source, and the replica when it is read instead: both speak here. It
returns catalog values and Arrow; what a partition is comes from `partitioning`,
what is selected from `source_sql`. Its sessions are read-only by the server's own
promise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any

import pyarrow as pa

from arrowetl import drivers, limits, sql
from arrowetl.checksums.groups import Grouped, Groups, table_checksums
from arrowetl.errors import ArrowetlError, DatabaseQueryError, DataExtractionError
from arrowetl.model.connection import DEFAULT_CHOICES, Endpoint, Link, RunSettings
from arrowetl.model.plan import Partition, Table, TablePlan
from arrowetl.model.state import SourceStats, TargetState
from arrowetl.planning import evidence, partitioning
from arrowetl.source import catalog, ranges, source_sql
from arrowetl.source.sample_sql import Sample, probe, probed, rows_since
from arrowetl.types import conversion, mapping, masking


class Source:
    """
    One server and database to read from.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        choices: RunSettings = DEFAULT_CHOICES,
        run_id: str = "",
        mask_key: bytes | None = b"",
    ) -> None:
        """
        Args:
            run_id: by which the long statements of a run, of all its processes, can be known at the server.
            mask_key: of the masks that hash; None where the server's rows are masked already.
        """
        self.endpoint = endpoint
        self._mask_key = mask_key
        self._mark = f" /* arrowetl {run_id} */" if run_id else ""
        self.choices = choices
        seconds = choices.statement_seconds
        self.pool = drivers.Pool(
            endpoint,
            lambda: drivers.MySQL(endpoint, read_only=True, statement_seconds=seconds),
            choices.source_connections,
        )
        self._lock = threading.Lock()
        self._tls: bool | None = None
        """Why UPDATE_TIME of its MyISAM tables proves nothing; known with the catalog."""
        self._answered = 0.0
        """When the server last did."""
        # Columns whose texts had bytes that are no character: the next partition need not try.
        self._odd: dict[str, frozenset[str]] = {}

    @property
    def tls(self) -> bool:
        with self._lock:
            if self._tls is None:
                with self.pool.session() as session:
                    self._tls = session.uses_tls
            return self._tls

    def catalog(self) -> dict[str, Table]:
        """
        Every table, its columns and indexes, in three queries, and what UPDATE_TIME is worth in a fourth.
        """
        questions = source_sql.catalog(self.endpoint.database)
        with self.pool.session() as session:
            flavour = session.flavour
            answers = {part: session.rows(question) for part, question in questions.items()}
            update_time_doubts = catalog.update_time_doubts(session.rows(source_sql.habits()))
        columns, indexes = catalog.columns_of(answers["columns"]), catalog.indexes_of(answers["indexes"])
        found = {
            row[0]: catalog.table_of(row, flavour, columns[row[0]], indexes[row[0]], update_time_doubts)
            for row in answers["tables"]
            if not row[0].startswith(sql.OURS)
        }
        return {name: self._as_its_parts_have_it(table) for name, table in catalog.with_exchanges(found).items()}

    def _as_its_parts_have_it(self, table: Table) -> Table:
        """A MERGE table says that it has a key, and its parts together may hold one twice: then it has none."""
        if table.engine.upper() != "MRG_MYISAM" or not table.primary_key:
            return table
        with suppress(DatabaseQueryError), self.pool.session() as session, session.impatient():
            if session.rows(source_sql.key_twice(self.endpoint.database, table)):
                return replace(table, primary_key=(), indexes=tuple(replace(i, unique=False) for i in table.indexes))
        return table

    def probes(
        self,
        tables: Sequence[Table],
        left_out: Mapping[str, frozenset[str]],
        on_table: Callable[[str], None] = lambda name: None,
    ) -> dict[str, Sample]:
        """
        Table → what one bounded look at it finds; nothing of one that cannot be read, which its run will report.

        One table in a statement: it would hold the locks of those it has while it waits for the next one.

        Args:
            left_out: table → the columns that are not looked at.
        """
        found = dict[str, Sample]()
        for table in tables:
            with suppress(DatabaseQueryError), self.pool.session() as session:
                ((answer,),) = session.rows(probe(self.endpoint.database, table, left_out[table.name]))
                found[table.name] = probed(table, left_out[table.name], answer)
            on_table(table.name)
        return found

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def identity(self) -> str:
        """Which server and database it is."""
        return f"{self.endpoint.host}:{self.endpoint.port}/{self.endpoint.database}"

    def reading(self, plan: TablePlan) -> SourceStats:
        """How many rows the table has now, when it last changed, and its checksum where that decides."""
        with self.pool.session() as session:
            rows, update_time, now, made = session.rows(source_sql.reading(self.endpoint.database, plan.name))[0]
            # What a replica's server writes, this run writes there.
            unseen = not plan.reads_replica and not evidence.has_reliable_update_time(plan.table)
            question = source_sql.server_changes(session.flavour)
            changes = sum(int(number) for _, number in session.rows(question)) if unseen else None
        self._answered = time.monotonic()
        checksum = self.checksums([plan]).get(plan.name) if evidence.is_checked_by_checksum(plan) else None
        return SourceStats(
            rows=int(rows),
            update_time=update_time,
            now=now,
            checksum=checksum,
            create_time=made,
            update_time_reliable=evidence.update_time_is_usable(plan.table),
            server_changes=changes,
        )

    def checksums(self, plans: Sequence[TablePlan]) -> dict[str, int]:
        """Table → the sum of its rows' checksums, of those that can be said; several tables in one statement."""
        fields = {plan.name: [field for field in plan.fields if field.is_compared] for plan in plans}
        return self._of_each(
            list(fields),
            lambda some: table_checksums(self.endpoint.database, [(name, fields[name]) for name in some]),
        )

    def rows_of(self, records: Mapping[str, TargetState]) -> tuple[dict[str, int], frozenset[str], frozenset[str]]:
        """
        Of a replica: what is needed of its tables before what is recorded of them is trusted.

        Returns:
            Table → how many rows it has, of those of which something is recorded and that may have been written
            otherwise; the tables of an engine without transactions; and those that could not be counted.
        """
        known = {name: one for name, one in records.items() if one.version is not None and one.rows is not None}
        with self.pool.session() as session:
            found = {name: about for name, *about in session.rows(source_sql.update_times(self.endpoint.database))}
        doubtful = [
            name
            for name, one in known.items()
            if name in found and not evidence.untouched(one, found[name][0], int(found[name][1]))
        ]
        others = frozenset(name for name, (_, _, engine) in found.items() if engine not in (None, "InnoDB"))
        counted = self._of_each(doubtful, lambda some: source_sql.mysql_counts(self.endpoint.database, some))
        return counted, others, frozenset(doubtful) - counted.keys()

    def _of_each(self, names: Sequence[str], question: Callable[[Sequence[str]], str]) -> dict[str, int]:
        """
        Table → what a question about many of them answers, which has their numbers and one more; of each alone where
        one of them cannot be asked: its failure is its own, and found when it is loaded.
        """
        found = dict[str, int]()
        for start in range(0, len(names), limits.checksums_per_statement):
            some = names[start : start + limits.checksums_per_statement]
            try:
                found |= self._answered_of(some, question)
            except DatabaseQueryError:
                for name in some:
                    with suppress(DatabaseQueryError):
                        found |= self._answered_of([name], question)
        return found

    def _answered_of(self, names: Sequence[str], question: Callable[[Sequence[str]], str]) -> dict[str, int]:
        with self.pool.session() as session, session.impatient():
            answers = session.rows(question(names))
        return {names[int(n)]: int(value) for n, value, *unsaid in answers if not any(map(int, unsaid))}

    def mostly_changed(self, plans: Iterable[TablePlan]) -> frozenset[str]:
        """
        Tables of which more changed since their watermark than makes it worth using; of those whose watermark
        an index begins with, by which that is counted quickly.
        """
        found = []
        for plan in plans:
            most = int(plan.table.rows * limits.changed_share_max)
            if any(index.columns[0][0] == plan.watermark for index in plan.table.indexes):
                question = rows_since(self.endpoint.database, plan.name, plan.watermark, plan.incremental_from, most)
                with suppress(DatabaseQueryError), self.pool.session() as session, session.impatient():
                    found += [plan.name] if session.rows(question)[0][0] >= most else []
        return frozenset(found)

    def max_watermark(self, plan: TablePlan, before: SourceStats) -> str | None:
        """
        The watermark that will have been reached when the table has been read, fixed before it is: the highest value
        in the column, and not the current time. What a lagging replica, or a long transaction, adds later has an older
        timestamp than now.
        """
        if plan.watermark is None:
            return None
        column = plan.table.column(plan.watermark)
        with self.pool.session() as session:
            highest = session.rows(source_sql.highest(self.endpoint.database, plan.name, column))[0][0]
        if highest is None:
            return None
        return str(highest).replace(" ", "T") if column.data_type == "timestamp" else str(highest)

    def shows_all_columns(self, table: str) -> bool:
        """Whether this account sees every column there is: one that is not shown may be there all the same."""
        try:
            with self.pool.session() as session:
                session.rows(source_sql.all_columns(self.endpoint.database, table))
        except DatabaseQueryError as error:
            if error.code in _DENIED:
                return False
            raise
        return True

    def cascades(self, tables: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Table → its foreign keys whose actions change its rows; of those that have some, or cannot be asked."""
        found = dict[str, tuple[str, ...]]()
        for name in tables:
            try:
                with self.pool.session() as session:
                    ((_, text, *_),) = session.rows(source_sql.definition(self.endpoint.database, name))
                found[name] = source_sql.cascades_of(str(text))
            except DatabaseQueryError:
                found[name] = (_UNKNOWN,)
        return {name: keys for name, keys in found.items() if keys}

    def link(self) -> Link:
        """The connection's speed: of a few short answers the quickest latency, of one long one the bandwidth."""
        with self.pool.session() as session:
            latency = min(_seconds(lambda: session.rows("SELECT 1")) for _ in range(3))
            long = _seconds(lambda: session.rows(f"SELECT REPEAT('x', {limits.link_probe_bytes})"))
        return Link(latency, limits.link_probe_bytes / max(long - latency, 1e-6))

    def group_checksums(self, grouped: Grouped, table: str, staged: str | None = None) -> Groups | None:
        """The checksums of a range's groups; None where the server could not produce some row's text."""
        with self.pool.session() as session:
            answers = session.rows(grouped.question(self.endpoint.database, table, staged) + self._mark)
        if any(int(unsaid) for *_, unsaid in answers):
            return None
        return {int(group): (int(rows), int(total)) for group, rows, total, _ in answers}

    def row_checksums(
        self, grouped: Grouped, table: str, among: Iterable[int] | None, staged: str | None = None
    ) -> dict[int, int]:
        """Key → checksum of the rows in the groups named, or in all."""
        with self.pool.session() as session:
            answers = session.rows(grouped.rows_question(self.endpoint.database, table, among, staged) + self._mark)
        return {int(key): int(checksum) for key, checksum in answers}

    def changed_keys(self, plan: TablePlan, incremental_from: str) -> list[int]:
        """The keys of rows whose watermark is at a value or past it."""
        question = source_sql.changed_keys(
            self.endpoint.database, plan.name, plan.table.primary_key[0], plan.watermark, incremental_from
        )
        with self.pool.session() as session:
            return [int(key) for (key,) in session.rows(question + self._mark)]

    def count_unrepresentable(self, table: Table, conditions: Mapping[str, str]) -> dict[str, int]:
        """Column → how many of its values the condition is true of; in short ranges, as rows are read."""
        counts = dict.fromkeys(conditions, 0)
        for part in self._ranges(table, lambda: limits.partition_rows_max):
            with self.pool.session() as session:
                found = session.rows(source_sql.count_unrepresentable(self.endpoint.database, table, conditions, part))[
                    0
                ]
            counts = {name: counts[name] + int(count) for name, count in zip(conditions, found, strict=True)}
        return counts

    def partitions(
        self,
        plan: TablePlan,
        between: Sequence[tuple[int | None, int | None]] = ((None, None),),
        rows: Callable[[], int] | None = None,
    ) -> Iterator[Partition]:
        """
        The table as ranges of its primary key, or in pieces; each is made when it is asked for.

        Args:
            between: the bounds within which they lie; by default all of it.
            rows: how many the next one is to have; by default as many as the plan says.
        """
        if not partitioning.can_be_split(plan.table):
            return (replace(part, incremental_from=plan.incremental_from) for part in self.slices(plan))
        asked = rows or (lambda: plan.rows_per_partition)
        found = chain.from_iterable(self._ranges(plan.table, asked, *gap) for gap in between)
        return (replace(part, index=index, incremental_from=plan.incremental_from) for index, part in enumerate(found))

    def ranges(self, plan: TablePlan, rows: Callable[[], int]) -> Iterator[Partition]:
        """The full table as ranges of so many rows, to be compared."""
        return self._ranges(plan.table, rows)

    def slices(self, plan: TablePlan) -> Iterator[Partition]:
        """A table that cannot be cut into ranges, in slices of which none is too large."""
        return ranges.slices(self.answers, self.endpoint.database, plan)

    def _ranges(
        self, table: Table, rows: Callable[[], int], lower: int | None = None, upper: int | None = None
    ) -> Iterator[Partition]:
        return ranges.Walk(self.answers, self.endpoint.database, table).ranges(rows, lower, upper)

    def extract(self, plan: TablePlan, part: Partition) -> tuple[TablePlan, pa.Table]:
        """
        The rows of one partition; read again by the fallbacks of the rules where texts had bytes that are no character.

        Returns:
            The plan with its fields as they were read, and the rows, with their masks on.

        Raises:
            DataExtractionError: the read was cut short, or a text is none.
            DatabaseConnectionError: the server was lost.
        """
        if part.index or time.monotonic() - self._answered > limits.answered_seconds:
            self._answers()
        if part.index:
            time.sleep(self.choices.pause_milliseconds / 1000)
        key = plan.table.integer_key
        plan = replace(
            plan, fields=mapping.fields_read_as_hex(plan.name, plan.fields, self._odd.get(plan.name, frozenset()))
        )
        table, odd = conversion.as_read(plan.name, self._read(plan, part), plan.fields, key)
        if odd:
            with self._lock:
                self._odd[plan.name] = self._odd.get(plan.name, frozenset()) | odd
            plan = replace(plan, fields=mapping.fields_read_as_hex(plan.name, plan.fields, odd))
            table, _ = conversion.as_read(plan.name, self._read(plan, part), plan.fields, key)
        return plan, masking.applied(table, plan.fields, self._mask_key)

    def _read(self, plan: TablePlan, part: Partition) -> pa.Table:
        key = plan.table.primary_key[0] if plan.table.primary_key else None
        full_scan_per_partition = plan.full_scan_per_partition and part.keys is None and part.incremental_from is None
        statement = source_sql.extract(
            self.endpoint.database, plan.name, plan.fields, key, part, plan.watermark, full_scan_per_partition
        )
        statement += self._mark
        try:
            tls = self.tls  # asked before a connection is taken: it takes one itself
            with self.pool.counted():
                table = drivers.read_arrow(self.endpoint, statement, tls, self.choices.statement_seconds)
        except DataExtractionError:
            self._answers()
            raise
        self._answered = time.monotonic()
        if table.num_columns != len(plan.fields):
            raise DataExtractionError(
                f"{plan.name}: {len(plan.fields)} columns were asked for, {table.num_columns} came",
                "something between arrowetl and the server answers what it was not asked; find out what it is",
            )
        # The server takes what cannot be printed off the beginning of an alias.
        return table.rename_columns([field.column.name for field in plan.fields])

    def interrupt(self) -> None:
        """End the run's current statements, wherever they were sent from: a slow link may have minutes of it."""
        # Outside the pool: all of its connections may be in use by those that are to be ended.
        session = drivers.MySQL(self.endpoint, read_only=True)
        try:
            for (number,) in session.rows(source_sql.statements_with(self._mark.strip())):
                with suppress(ArrowetlError):  # it has ended by itself
                    session.execute(f"KILL QUERY {number}")
        finally:
            session.close()

    def _answers(self) -> None:
        """
        Raises:
            DatabaseConnectionError: the server was lost, or lets no account in any more; raised at once, with a
                reason, where connectorx takes half a minute over it and knows none.
        """
        with self.pool.session() as session:
            session.rows("SELECT 1")
        self._answered = time.monotonic()

    @property
    def version(self) -> str:
        """Of the server."""
        return str(self.answers("SELECT VERSION()")[0][0])

    def answers(self, question: str) -> list[tuple[Any, ...]]:
        """What the server says to one of `row_checksums`' questions."""
        with self.pool.session() as session:
            return session.rows(question)

    def close(self) -> None:
        self.pool.close()


# A privilege on the table, or one of its columns, that the account does not have.
_DENIED = (1142, 1143)
_UNKNOWN = "which there are, this account may not see"


def _seconds(act: Callable[[], object]) -> float:
    clock = time.monotonic()
    act()
    return time.monotonic() - clock
