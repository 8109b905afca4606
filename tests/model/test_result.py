"""
The documents that programs read have the shapes that were promised.
"""

from __future__ import annotations

import json
import pickle

from support.outcomes import RUN

import arrowetl
from arrowetl import errors
from arrowetl.cli import render_run
from arrowetl.errors import DataError, UsageError
from arrowetl.model.document import Identity, document

TABLE_KEYS = {
    "table", "category", "mode", "reason", "status", "partitions", "rows_extracted", "rows_replica", "rows_warehouse",
    "rows_inserted", "rows_updated", "rows_deleted", "bytes_extracted", "seconds", "rows_per_second", "coerced",
    "coercions", "settled", "verdict", "error", "reason_code", "phases",
}  # fmt: skip
TOTALS_KEYS = {
    "tables", "succeeded", "failed", "skipped", "rows_extracted", "rows_inserted", "rows_updated", "rows_deleted",
    "bytes_extracted", "coerced",
}  # fmt: skip


def test_a_run_document_has_every_promised_key() -> None:
    """Every key that was promised, with the sums it stands for."""
    run = json.loads(json.dumps(RUN.as_json()))

    assert run.keys() >= {
        "run_id", "environment", "started_at", "ended_at", "seconds", "exit_code", "totals", "connections", "tables"
    }  # fmt: skip
    assert run["totals"].keys() == {*TOTALS_KEYS, "by_category"}
    assert run["totals"]["by_category"]["small"].keys() == TOTALS_KEYS
    assert all(table.keys() >= TABLE_KEYS for table in run["tables"])
    assert (run["seconds"], run["totals"]["rows_deleted"], run["totals"]["failed"]) == (4.0, 3, 1)


def test_a_table_document_has_coercions_failure_and_remedy() -> None:
    """Coercions by column and one by one; a failure with its remedy."""
    good, bad = RUN.as_json()["tables"]

    assert good["coerced"] == {"Birthdate": 3}
    assert good["coercions"][0] == {
        "column": "Birthdate", "from": "zero date", "to": "NULL", "count": 2, "example_keys": [5],
        "is_new": False,
    }  # fmt: skip
    assert good["rows_per_second"] == 5
    assert bad["error"] == {"kind": "DataError", "code": "data", "message": "payment: lost", "remedy": "run again"}


def test_an_error_document_has_the_same_form() -> None:
    """With --json, stdout has one document whatever happens."""
    assert render_run.error_json(UsageError("unknown table: pat", "arrowetl status")) == {
        "tables": [],
        "error": {"kind": "UsageError", "code": "usage", "message": "unknown table: pat", "remedy": "arrowetl status"},
    }


def test_every_document_begins_the_same() -> None:
    """Its form, who wrote it, whether it went well, and whose it is."""
    about = Identity("production", "north", {"source": {"host": "h", "port": 3306, "database": "d", "schema": None}})
    head = list(document("fleet run", 1, about, None, more=5).items())

    assert head == [
        ("schema_version", 1), ("arrowetl_version", arrowetl.__version__), ("command", "fleet run"), ("ok", False),
        ("exit_code", 1), ("error", None), ("environment", "production"), ("clinic", "north"),
        ("servers", about.servers), ("more", 5),
    ]  # fmt: skip
    assert list(RUN.as_json())[:9] == [key for key, _ in head[:9]]


def test_every_error_has_a_code_of_its_own() -> None:
    """For programs: no two classes share one, and a pickled one keeps it."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ArrowetlError)]
    codes = [one.slug for one in classes]

    assert len(set(codes)) == len(codes) > 15
    assert pickle.loads(pickle.dumps(DataError("x", slug="views_block_change"))).slug == "views_block_change"
