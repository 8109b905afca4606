"""
A run with a table that succeeded and one that failed.
"""

from datetime import UTC, datetime, timedelta

from arrowetl.errors import DataError
from arrowetl.model.plan import Mode
from arrowetl.model.result import Coercion, Failure, Outcome, RowCounts, Status, Summary

START = datetime(2026, 1, 2, 21, 0, tzinfo=UTC)
GOOD = Outcome(
    "patient", "small", Mode.FULL, "first load", Status.SUCCEEDED, partitions=2, rows_extracted=10, rows_replica=10,
    rows_warehouse=10, changes=RowCounts(8, 1, 3), bytes_extracted=1000, seconds=2.0,
    coercions=(Coercion("Birthdate", "zero date", "NULL", 2, (5,)), Coercion("Birthdate", "partial date", "NULL", 1)),
    settled=True, verdict="equal",
)  # fmt: skip
BAD = Outcome(
    "payment", "tiny", Mode.FULL, "", Status.FAILED, failure=Failure.of(DataError("lost", "run again"), "payment")
)
RUN = Summary("run-1", "test", START, START + timedelta(seconds=4), (GOOD, BAD), 1,
              {"source": {"opened": 3, "peak": 2}}, ("a warning",))  # fmt: skip
