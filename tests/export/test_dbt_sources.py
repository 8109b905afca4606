"""
What becomes of a sources.yml: what dbt reads from it, and what people wrote into it.

As the file is read and written, comments and all; `ecosystem/test_dbt.py` gives it to dbt.
"""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from arrowetl.errors import ConfigurationError
from arrowetl.export import dbt_document
from arrowetl.export.dbt_document import SourceTable
from arrowetl.export.dbt_sources import _read
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import PublishedTable

PATIENT = SourceTable(
    "patient", "patient",
    PublishedTable((("PatNum", "bigint"), ("LName", "text"), ("Birthdate", "date")), ("PatNum",)),
    TableSettings({"extraction_strategy": "incremental", "primary_incremental_column": "DateTStamp",
                   "columns": {"LName": {"mask": "hash"}}}),
    {"PatNum": "bigint(20)", "LName": "varchar(100)", "Birthdate": "date"},
)  # fmt: skip
LINK = SourceTable(
    "Link", "Link", PublishedTable((('A"x', "bigint"), ("B", "bigint")), ('A"x', "B")), TableSettings({}), {}
)


def loaded(text: str, *tables: SourceTable, namespace: str = "raw") -> tuple[str, list[str]]:
    """A sources.yml, loaded up to date; and what is reported."""
    editor = YAML()
    editor.preserve_quotes = True
    document = editor.load(text) or {}
    reported = dbt_document.updated(document, namespace, tables)
    said = io.StringIO()
    editor.dump(document, said)
    return said.getvalue(), reported


def table(text: str, name: str = "patient") -> dict[str, Any]:
    return next(one for source in yaml.safe_load(text)["sources"] for one in source["tables"] if one["name"] == name)


def column(text: str, name: str) -> dict[str, Any]:
    return next(one for one in table(text)["columns"] if one["name"] == name)


def test_a_new_sources_yml_has_types_rules_tests_and_freshness() -> None:
    """Types, rules in words, tests of keys of one column and of two, and how fresh a table is."""
    text, reported = loaded("", PATIENT, LINK)
    (source,) = yaml.safe_load(text)["sources"]

    assert reported == []
    assert (source["name"], source["schema"]) == ("raw", "raw")
    assert source["config"]["freshness"]["error_after"] == {"count": 30, "period": "day"}
    assert table(text)["description"] == "`patient` at the source; changes are found by DateTStamp."
    assert table(text)["config"]["loaded_at_query"] == (
        "SELECT _checked_at FROM \"raw\".etl_load_status WHERE table_name = 'patient'"
    )
    assert column(text, "PatNum") == {
        "name": "PatNum",
        "data_type": "bigint",
        "quote": True,
        "description": "`bigint(20)` at the source.",
        "data_tests": ["unique", "not_null"],
    }
    assert column(text, "LName")["description"] == "`varchar(100)` at the source. Masked: hash."
    assert column(text, "Birthdate")["description"].startswith("`date` at the source. Zero, partial and impossible")
    assert table(text, "Link")["data_tests"] == [{"unique": {"arguments": {"column_name": '("A""x", "B")'}}}]
    assert table(text, "Link")["description"] == "`Link` at the source; compared in full."


def test_an_unchanged_warehouse_changes_nothing() -> None:
    once, _ = loaded("", PATIENT, LINK)

    assert loaded(once, PATIENT, LINK)[0] == once


def test_a_changed_type_updates_our_description() -> None:
    """And with it the description, where that is ours."""
    once, _ = loaded("", PATIENT)
    wider = SourceTable(
        "patient",
        "patient",
        PublishedTable((("PatNum", "numeric(20,0)"),), ("PatNum",)),
        TableSettings({}),
        {"PatNum": "bigint(20) unsigned"},
    )
    text, _ = loaded(once, wider)

    assert column(text, "PatNum")["data_type"] == "numeric(20,0)"
    assert column(text, "PatNum")["description"] == "`bigint(20) unsigned` at the source."
    assert [one["name"] for one in table(text)["columns"]] == ["PatNum"]


WRITTEN = """\
version: 2
sources:
  # ours
  - name: raw
    schema: raw
    tables:
      - name: patient
        description: "`patient` at the source; changes are found by DateTStamp. One row per human; ask Ann."
        tests:
          - dbt_utils.at_least_one
        columns:
          - name: PatNum
            quote: false # we fold
          - name: Deleted
            data_tests:
              - accepted_values: {values: [1, 2]}
      - name: old
        columns:
          - name: X
            data_tests:
              - relationships: {to: ref('y'), field: z}
"""


def test_hand_written_entries_are_kept() -> None:
    """A sentence after ours, other words for tests, a quote, and a dropped table with tests of its own: reported."""
    text, reported = loaded(WRITTEN, PATIENT)

    assert table(text)["description"].endswith("One row per human; ask Ann.")
    assert "data_tests" not in table(text)
    assert "# ours" in text
    assert re.search(r"quote: false +# we fold", text)
    assert reported == [
        "old: no table of the warehouse's schema raw, and left as it is",
        "patient.Deleted: no column of the table, and left as it is",
    ]
    assert loaded(text, PATIENT) == (text, reported)


def test_removed_tests_stay_removed() -> None:
    once, _ = loaded("", PATIENT)
    without = re.sub(r" +data_tests:\n +- unique\n +- not_null\n", "", once)
    assert without != once

    assert "data_tests" not in column(loaded(without, PATIENT)[0], "PatNum")


def test_generated_entries_of_dropped_tables_are_removed() -> None:
    """A table with a key of two columns and a freshness of its own, and nothing that anybody wrote."""
    short = SourceTable(
        LINK.name, LINK.name_postgres, LINK.published, TableSettings({"time_gap_threshold_days": 3}), {}
    )
    once, _ = loaded("", PATIENT, PATIENT, short)
    text, reported = loaded(once, PATIENT)

    assert reported == []
    assert [one["name"] for one in yaml.safe_load(text)["sources"][0]["tables"]] == ["patient"]


@pytest.mark.parametrize(
    "text",
    [
        "sources: [{name: raw, schema: \"{{ var('schema') }}\", tables: [{name: patient}]}]",
        "sources: [{name: clinic, schema: raw, tables: [{name: people, identifier: patient}]}]",
        "sources: [{name: a, schema: raw, tables: []}, {name: b, schema: raw, tables: [{name: patient}]}]",
        "sources: [{name: raw, tables: [{name: patient, columns: , config: , data_tests: }], config: }]",
        "sources: [{name: raw, tables: }]",
        "sources: ",
    ],
)
def test_a_table_is_listed_once(text: str) -> None:
    """Whatever the source is called, wherever the table is, and whatever was left blank."""
    said = yaml.safe_load(loaded(text, PATIENT)[0])
    tables = [one for source in said["sources"] for one in source["tables"]]

    assert len(tables) == 1
    assert tables[0].get("identifier", tables[0]["name"]) == "patient"
    assert len(tables[0]["columns"]) == 3


def test_another_schema_gets_its_own_source() -> None:
    """As each clinic of a fleet has one."""
    text, _ = loaded(loaded("", PATIENT)[0], PATIENT, namespace="raw_north")

    assert [one["schema"] for one in yaml.safe_load(text)["sources"]] == ["raw", "raw_north"]
    assert '"raw_north".etl_load_status' in text


@pytest.mark.parametrize("text", ["[1, 2]", "sources: 5", "sources: [{tables: [x]}]", "a: [", "\xff"])
def test_a_file_that_is_no_sources_yml_is_refused(text: str, tmp_path: Any) -> None:
    """Before anything is written."""
    path = tmp_path / "sources.yml"
    path.write_text(text, encoding="latin-1")

    with pytest.raises(ConfigurationError, match=r"no sources\.yml of dbt's"):
        _read(YAML(), path)
