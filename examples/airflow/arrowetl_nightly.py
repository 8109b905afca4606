"""
A nightly run by Airflow: validate → analyze → run, a task for each size of tables → verify → dbt.

Put it where your DAGs are; arrowetl must be installed where Airflow's tasks run, and its settings be in their
environment (ETL_ENVIRONMENT, ARROWETL_SOURCE_URL …), or in a file that ARROWETL_ENV_FILE names; tables.yml is where
ARROWETL_CONFIG says. arrowetl is imported in the tasks: Airflow reads this file every few seconds. A retried
task continues where the failed one stopped: tables that arrived are skipped, and of one that was being loaded the
complete partitions in staging are kept.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import dag, task

DBT_PROJECT = os.environ.get("DBT_PROJECT_DIR", "")
SIZES = ["large", "medium", "small", "tiny"]


def opened() -> Any:
    import arrowetl

    return arrowetl.open()


def failures(tables: list[dict[str, Any]]) -> str:
    """What failed, and what to do about it, as Airflow's log and mail have it."""
    errors = [one["error"] for one in tables if one["error"]]
    return "\n".join(f"{error['message']}\n  {error['remedy'] or ''}" for error in errors)


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=int(os.environ.get("NIGHTLY_RETRY_SECONDS", "300"))),
        "retry_exponential_backoff": True,
    },
    tags=["arrowetl"],
)
def arrowetl_nightly() -> None:
    """Nightly: load what changed at the source, verify it, and build the dbt models."""

    @task
    def validate() -> list[str]:
        with opened() as etl:
            found = etl.validate()
        if found.problems:
            # A server that is down may be up again; nothing else is repaired by another try.
            error = AirflowException if found.exit_code == 4 else AirflowFailException
            raise error("\n".join(found.problems))
        return list(found.notes)

    @task
    def analyze() -> list[str]:
        with opened() as etl:
            return [change.words for change in etl.analyze().changes]

    # One at a time: a second run would find the lock of the first.
    @task(max_active_tis_per_dagrun=1)
    def run(category: str) -> dict[str, Any]:
        with opened() as etl:
            summary = etl.run(category=category, max_workers=8).as_json()
        if summary["exit_code"]:
            raise AirflowException(failures(summary["tables"]))
        return {"run_id": summary["run_id"], "category": category, **summary["totals"]}

    @task
    def verify(runs: list[dict[str, Any]]) -> dict[str, int]:
        with opened() as etl:
            found = etl.verify(changed=True).as_json()
        if found["exit_code"]:
            differing = [one["table"] for one in found["tables"] if one["verdict"] != "equal"]
            raise AirflowException(f"not equal at all three servers: {', '.join(differing)}")
        return {"tables": len(found["tables"]), "rows_read": sum(one["rows_extracted"] for one in runs)}

    @task.bash
    def dbt() -> str:
        return f"cd '{DBT_PROJECT}' && dbt build --profiles-dir ." if DBT_PROJECT else "echo no dbt project"

    loaded = run.expand(category=SIZES)
    validate() >> analyze() >> loaded
    verify(loaded) >> dbt()


arrowetl_nightly()
