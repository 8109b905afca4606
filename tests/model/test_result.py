"""
The documents that programs read have the shapes that were promised.
"""

from __future__ import annotations

import json

from support.outcomes import RUN

from arrowetl.cli import render_run
from arrowetl.errors import UsageError

TABLE_KEYS = {
    "table", "category", "mode", "reason", "status", "partitions", "rows_extracted", "rows_replica", "rows_warehouse",
    "rows_inserted", "rows_updated", "rows_deleted", "bytes_extracted", "seconds", "rows_per_second", "coerced",
    "coercions", "settled", "verdict", "error",
}  # fmt: skip
TOTALS_KEYS = {"tables", "succeeded", "failed", "skipped", "rows_extracted", "rows_deleted", "bytes_extracted"}


def test_a_run_document_has_every_promised_key() -> None:
    """Every key that was promised, with the sums it stands for."""
    document = json.loads(json.dumps(RUN.as_json()))

    assert document.keys() >= {
        "run_id", "environment", "started_at", "ended_at", "seconds", "exit_code", "totals", "connections", "tables"
    }  # fmt: skip
    assert document["totals"].keys() == {*TOTALS_KEYS, "by_category"}
    assert document["totals"]["by_category"]["small"].keys() == TOTALS_KEYS
    assert all(table.keys() >= TABLE_KEYS for table in document["tables"])
    assert (document["seconds"], document["totals"]["rows_deleted"], document["totals"]["failed"]) == (4.0, 3, 1)


def test_a_table_document_has_coercions_failure_and_remedy() -> None:
    """Coercions by column and one by one; a failure with its remedy."""
    good, bad = RUN.as_json()["tables"]

    assert good["coerced"] == {"Birthdate": 3}
    assert good["coercions"][0] == {
        "column": "Birthdate", "from": "zero date", "to": "NULL", "count": 2, "example_keys": [5],
        "news": False,
    }  # fmt: skip
    assert good["rows_per_second"] == 5
    assert bad["error"] == {"kind": "DataError", "message": "payment: lost", "remedy": "run again"}


def test_an_error_document_has_the_same_form() -> None:
    """With --json, stdout has one document whatever happens."""
    assert render_run.error_json(UsageError("unknown table: pat", "arrowetl status")) == {
        "exit_code": 2,
        "tables": [],
        "error": {"kind": "UsageError", "message": "unknown table: pat", "remedy": "arrowetl status"},
    }
