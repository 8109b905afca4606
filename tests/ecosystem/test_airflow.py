"""
The DAG in examples/airflow, executed by Airflow; for real.

`nox -s airflow` runs it: Airflow is installed there, and dbt in an environment of its own, which
ARROWETL_TEST_DBT names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.clinic import Clinic, settle

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DAG = "arrowetl_nightly"
PRACTICE = """
CREATE TABLE patient (PatNum bigint NOT NULL, LName varchar(50), FName varchar(50), Birthdate date,
  PatStatus int NOT NULL, PRIMARY KEY (PatNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO patient SELECT seq, 'l', 'f', '1980-01-01', 0 FROM seq_1_to_20000;
CREATE TABLE procedurelog (ProcNum bigint NOT NULL, PatNum bigint NOT NULL, ProcDate date, ProcFee double,
  ProcStatus int NOT NULL, PRIMARY KEY (ProcNum)) ENGINE=MyISAM;
INSERT INTO procedurelog SELECT seq, seq MOD 20000, '2026-01-01', 10, 2 FROM seq_1_to_120000;
CREATE TABLE provider (ProvNum bigint NOT NULL, Abbr varchar(20), PRIMARY KEY (ProvNum)) ENGINE=MyISAM;
INSERT INTO provider VALUES (1, 'DOC')
"""


class Airflow:
    """An Airflow of its own, with the example as its one DAG."""

    def __init__(self, clinic: Clinic) -> None:
        self.clinic, home = clinic, clinic.directory / "airflow"
        (home / "dags").mkdir(parents=True)
        shutil.copy(EXAMPLES / "airflow" / f"{DAG}.py", home / "dags")
        shutil.copytree(EXAMPLES / "dbt", clinic.directory / "dbt")
        warehouse = clinic.sandbox.warehouse
        dbt = Path(os.environ["ARROWETL_TEST_DBT"]) / "bin"
        self.environment = {
            **clinic.environment,
            "PATH": f"{Path(sys.executable).parent}:{dbt}:/usr/bin:/bin", "HOME": str(clinic.directory),
            "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "false", "DO_NOT_TRACK": "1",
            "ARROWETL_CONFIG": str(clinic.tables_file), "NIGHTLY_RETRY_SECONDS": "1", "ARROWETL_RETRIES": "0",
            "DBT_PROJECT_DIR": str(clinic.directory / "dbt"),
            "POSTGRES_ANALYTICS_HOST": warehouse.host, "POSTGRES_ANALYTICS_PORT": str(warehouse.port),
            "POSTGRES_ANALYTICS_DB": warehouse.database, "POSTGRES_ANALYTICS_USER": warehouse.user,
            "POSTGRES_ANALYTICS_PASSWORD": warehouse.password,
        }  # fmt: skip
        self.say("db", "migrate")

    def say(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["airflow", *arguments], env=self.environment, cwd=self.clinic.directory, capture_output=True, text=True,
            check=False, timeout=400,
        )  # fmt: skip

    def day(self) -> subprocess.CompletedProcess[str]:
        return self.say("dags", "test", DAG)


@pytest.fixture
def airflow(clinic: Clinic) -> Airflow:
    clinic.create(PRACTICE)
    settle()
    deleted = "DROP SCHEMA IF EXISTS dbt_staging CASCADE; DROP SCHEMA IF EXISTS dbt_marts CASCADE"
    clinic.undo.append(lambda: clinic.warehouse_execute(deleted))
    return Airflow(clinic)


def runs(clinic: Clinic) -> list[tuple[Any, ...]]:
    return clinic.warehouse("SELECT exit_code, tables, failed FROM raw.etl_run_history ORDER BY started_at")


def test_the_dag_loads_verifies_and_builds_marts(airflow: Airflow) -> None:
    """Four runs, one for each size, one after the other; verified; and the marts are."""
    done = airflow.day()
    clinic = airflow.clinic

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    # Which size comes first is Airflow's to say.
    assert sorted(runs(clinic)) == [(0, 0, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0)]
    assert clinic.warehouse("SELECT count(*) FROM raw.etl_receipts WHERE run_id LIKE 'verify-%'")[0][0] == 1
    assert clinic.warehouse("SELECT procedures FROM dbt_marts.production") == [(120_000,)]


def test_a_retried_task_loads_only_what_failed(airflow: Airflow) -> None:
    """A warehouse that refuses a table for some seconds: the next try loads it, and nothing else once more."""
    clinic = airflow.clinic
    assert airflow.day().returncode == 0
    clinic.create("UPDATE patient SET LName = 'other' WHERE PatNum < 100")
    clinic.warehouse_execute(
        "CREATE FUNCTION raw.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF (SELECT count(*) FROM raw.etl_table_history WHERE table_name = 'patient' AND status = 'failed') < 1 "
        "THEN RAISE 'not now'; END IF; RETURN NEW; END $$"
    )
    clinic.warehouse_execute(
        "CREATE TRIGGER refuse BEFORE UPDATE OR INSERT ON raw.patient FOR EACH ROW EXECUTE FUNCTION raw.refuse()"
    )
    done = airflow.day()

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    # One for each size, and once more for that of patient.
    assert sorted(runs(clinic)[4:]) == [(0, 0, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0), (1, 1, 1)]
    tried = clinic.warehouse(
        "SELECT status::text FROM raw.etl_table_history WHERE table_name = 'patient' ORDER BY started_at"
    )
    assert tried == [("succeeded",), ("failed",), ("succeeded",)]
    assert clinic.warehouse("SELECT count(*) FROM raw.patient WHERE \"LName\" = 'other'")[0][0] == 99
