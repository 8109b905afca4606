"""
Source = replica = warehouse, or which tables differ.

Each end computes its own checksum, where the data lies; `checksum` phrases
the question and compares the answers. Nothing is written and no row leaves a
server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from arrowetl import checksum, config, limits, preflight, schema
from arrowetl.checksum import Checksum
from arrowetl.config import Settings
from arrowetl.errors import ArrowetlError, VerificationError
from arrowetl.ledger import TRACKING
from arrowetl.model import Table
from arrowetl.outcome import Failure
from arrowetl.source import Source
from arrowetl.tables_file import TablesFile, read_tables
from arrowetl.warehouse import Warehouse


@dataclass(frozen=True)
class Verdict:
    """What came of comparing one table."""

    table: str
    verdict: str
    """equal, differs or failed."""
    checksums: Mapping[str, Checksum]
    differing: tuple[str, ...] = ()
    """The ends that are not as the source is."""
    left_out: tuple[str, ...] = ()
    """Columns that cannot be compared in this way."""
    failure: Failure | None = None

    def as_json(self) -> dict[str, Any]:
        rows = {f"rows_{end}": self.checksums[end].rows if end in self.checksums else None for end in _ENDS}
        return {
            "table": self.table,
            "verdict": self.verdict,
            **rows,
            # How many rows differ, and which, is not looked for yet: the ends are named.
            "differences": 0 if self.verdict == "equal" else None,
            "differing": [{"end": end, "kind": "changed", "key": {}, "columns": []} for end in self.differing],
            "columns_left_out": list(self.left_out),
            "error": self.failure and self.failure.as_json(),
        }


_ENDS = ("source", "replica", "warehouse")


def verify(
    settings: Settings,
    tables: tuple[str, ...] = (),
    workers: int = limits.workers_default,
    tell: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """
    Compare the tables named, or all.

    Raises:
        UsageError: a table that was named is not there.
        DatabaseConnectionError: one of the three cannot be reached.
    """
    tables_file = read_tables(settings.tables_file)
    preflight.reach(*(settings.endpoint(end) for end in _ENDS))
    with ExitStack() as closing:
        source, replica = Source(settings.endpoint("source")), Source(settings.endpoint("replica"))
        warehouse = Warehouse(settings.endpoint("warehouse"))
        for end in (source, replica, warehouse):
            closing.callback(end.close)
        catalog = {name: table for name, table in source.catalog().items() if name not in TRACKING}
        chosen = config.chosen_tables(tables, catalog) if tables else tuple(catalog)
        chosen = tuple(name for name in chosen if tables or not tables_file.of_table(catalog[name]).excluded)
        pool = closing.enter_context(ThreadPoolExecutor(workers))

        def one(name: str) -> Verdict:
            verdict = _verify_one(catalog[name], tables_file, source, replica, warehouse)
            tell(verdict)
            return verdict

        return list(pool.map(one, chosen))


def _verify_one(
    table: Table, tables_file: TablesFile, source: Source, replica: Source, warehouse: Warehouse
) -> Verdict:
    try:
        settings = tables_file.of_table(table)
        excluded = settings.excluded_columns()
        columns = [column for column in table.columns if column.name not in excluded]
        translated = schema.translate(table.name, columns, settings.column_types())
        # What is masked is not what the source has.
        fields = tuple(field for field in translated if field.column.name not in settings.masks())
        checksums = {
            end.endpoint.name: Checksum(
                *end.checksum(checksum.mysql_checksum(end.endpoint.database, table.name, fields))
            )
            for end in (source, replica)
        }
        question = checksum.postgres_checksum(warehouse.namespace, schema.postgres_name(table.name), fields)
        checksums["warehouse"] = Checksum(*warehouse.checksum(question))
    except ArrowetlError as error:
        return Verdict(table.name, "failed", {}, failure=Failure.of(error, table.name))
    differing = checksum.differing(checksums, of="source")
    compared = {field.column.name for field in checksum.comparable(fields)}
    left_out = tuple(column.name for column in table.columns if column.name not in compared)
    return Verdict(table.name, "differs" if differing else "equal", checksums, differing, left_out)


def exit_code(verdicts: list[Verdict]) -> int:
    """0, 5 where something differs, 1 where something could not be compared."""
    words = {verdict.verdict for verdict in verdicts}
    return VerificationError.exit_code if "differs" in words else int("failed" in words)
