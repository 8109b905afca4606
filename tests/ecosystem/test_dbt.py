"""
The project in examples/dbt on a warehouse that arrowetl fills, over runs with drift; for real.

`nox -s dbt` runs it: dbt is installed there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.clinic import Clinic

from arrowetl import drivers
from arrowetl.sandbox import opendental, seed

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "dbt"
SCALE = 0.002
TABLES = ("patient", "procedurelog", "provider", "payment", "patfield", "securitylog")


class Project:
    """The example, in a directory of its own."""

    def __init__(self, clinic: Clinic) -> None:
        self.clinic, self.directory = clinic, clinic.directory / "dbt"
        shutil.copytree(EXAMPLE, self.directory)
        warehouse = clinic.sandbox.warehouse
        self.environment = {
            "POSTGRES_ANALYTICS_HOST": warehouse.host, "POSTGRES_ANALYTICS_PORT": str(warehouse.port),
            "POSTGRES_ANALYTICS_DB": warehouse.database, "POSTGRES_ANALYTICS_USER": warehouse.user,
            "POSTGRES_ANALYTICS_PASSWORD": warehouse.password, "PATH": str(Path(sys.executable).parent),
            "HOME": str(clinic.directory), "DO_NOT_TRACK": "1",
        }  # fmt: skip

    @property
    def sources(self) -> Path:
        return self.directory / "models" / "sources.yml"

    def dbt(self, *arguments: str, good: bool = True) -> dict[str, Any]:
        """Run dbt; what it wrote of its results."""
        done = subprocess.run(
            ["dbt", "--no-use-colors", *arguments, "--profiles-dir", "."], cwd=self.directory, env=self.environment,
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert (done.returncode == 0) == good, done.stdout + done.stderr
        assert "eprecat" not in done.stdout, done.stdout
        name = "sources.json" if "freshness" in arguments else "run_results.json"
        found = self.directory / "target" / name
        return json.loads(found.read_text()) if found.exists() else {}

    def updated(self) -> str:
        done = self.clinic.arrowetl("dbt-sources", "--output", str(self.sources))
        assert done.returncode == 0, done.stderr
        return done.stderr

    def table(self, name: str) -> dict[str, Any]:
        (source,) = yaml.safe_load(self.sources.read_text())["sources"]
        return next(one for one in source["tables"] if one["name"] == name)

    def column(self, table: str, name: str) -> dict[str, Any]:
        return next(one for one in self.table(table)["columns"] if one["name"] == name)


@pytest.fixture
def project(clinic: Clinic) -> Project:
    """A few of OpenDental's tables with rows, loaded once; analyzed, so that types at the source are known."""
    deleted = "DROP SCHEMA IF EXISTS dbt_staging CASCADE; DROP SCHEMA IF EXISTS dbt_marts CASCADE"
    clinic.undo.append(lambda: clinic.warehouse_execute(deleted))
    tables = opendental.tables(SCALE)
    with tempfile.TemporaryDirectory() as directory:
        session = drivers.MySQL(clinic.sandbox.admin("source"), infile_directory=Path(directory))
        session.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
        for name in TABLES:
            seed.fill(session, tables[name], SCALE, opendental.SEED, Path(directory))
    session.execute("CREATE TABLE link (A bigint NOT NULL, B bigint NOT NULL, PRIMARY KEY (A, B)) ENGINE=MyISAM")
    session.execute("INSERT INTO link VALUES (1, 1), (1, 2), (2, 1)")
    session.close()
    assert clinic.arrowetl("analyze").returncode == 0
    assert clinic.run("--all", "--publish", "together")["exit_code"] == 0
    return Project(clinic)


def passed(results: dict[str, Any]) -> int:
    assert [one["status"] for one in results["results"] if one["status"] not in ("success", "pass")] == []
    return len(results["results"])


def test_dbt_builds_through_schema_changes(project: Project) -> None:
    """Parse, freshness, build; then a column comes, one is widened and one goes, and all of it once more."""
    clinic = project.clinic
    project.updated()
    project.dbt("parse")
    fresh = project.dbt("source", "freshness")
    assert {one["status"] for one in fresh["results"]} == {"pass"}
    assert len(fresh["results"]) == len(TABLES) + 1
    # Models, their tests, the tests of keys (two of them of two columns), those that people wrote.
    assert passed(project.dbt("build")) >= 3 + 2 * len(TABLES)
    (months,) = clinic.warehouse("SELECT count(*) FROM dbt_marts.production")[0]
    assert months > 0

    clinic.create(
        "ALTER TABLE patient ADD COLUMN Pronouns varchar(40) NOT NULL DEFAULT '';\n"
        "ALTER TABLE procedurelog MODIFY ProcStatus int NOT NULL;\n"
        "ALTER TABLE provider DROP COLUMN Suffix;\n"
        "UPDATE procedurelog SET ProcFee = ProcFee + 1"
    )
    before = clinic.warehouse("SELECT sum(fees) FROM dbt_marts.production")[0][0]
    assert clinic.arrowetl("analyze").returncode == 0
    assert clinic.run("--all", "--publish", "together")["exit_code"] == 0
    project.updated()
    assert project.column("patient", "Pronouns")["description"].startswith("`varchar(40)` at the source.")
    assert project.column("procedurelog", "ProcStatus")["data_type"] == "integer"
    assert "Suffix" not in [one["name"] for one in project.table("provider")["columns"]]
    project.dbt("parse")
    project.dbt("source", "freshness")
    passed(project.dbt("build"))
    assert clinic.warehouse("SELECT sum(fees) FROM dbt_marts.production")[0][0] > before


def test_hand_written_parts_of_sources_yml_are_kept(project: Project) -> None:
    """Descriptions, tests, tags and comments; word for word, as often as it is loaded up to date."""
    project.updated()
    once = project.sources.read_text()
    project.updated()

    assert project.sources.read_text() == once
    assert project.table("patient")["description"] == "Everybody we have ever seen, and some we have only talked to."
    assert project.table("procedurelog")["config"]["tags"] == ["money"]
    assert "# The accountants close the month by it." in once
    assert project.column("procedurelog", "ProcFee")["data_tests"] == [{"not_null": {"config": {"severity": "warn"}}}]
    assert project.column("procedurelog", "ProcFee")["data_type"] == "double precision"
    assert project.column("patient", "PatNum")["data_tests"] == ["unique", "not_null"]


def test_dbt_freshness_notices_a_missing_run(project: Project) -> None:
    """Is reported by the freshness of dbt's sources, of that table alone."""
    project.updated()
    project.clinic.warehouse_execute(
        "UPDATE raw.etl_load_status SET _checked_at = _checked_at - interval '2 days' WHERE table_name = 'payment';"
        "UPDATE raw.etl_load_status SET _checked_at = _checked_at - interval '40 days' WHERE table_name = 'provider'"
    )
    fresh = project.dbt("source", "freshness", good=False)

    reported = {
        one["unique_id"].rpartition(".")[2]: one["status"] for one in fresh["results"] if one["status"] != "pass"
    }
    assert reported == {"payment": "warn", "provider": "error"}


def test_dbt_key_tests_find_duplicates(project: Project) -> None:
    """The tests of keys test something: of one column, and of two."""
    project.updated()
    project.clinic.warehouse_execute(
        "ALTER TABLE raw.link DROP CONSTRAINT link_pkey; INSERT INTO raw.link VALUES (1, 1)"
    )
    results = project.dbt("test", "--select", "source:raw.link", good=False)

    assert sorted(one["status"] for one in results["results"]) == ["fail", "pass", "pass"]
