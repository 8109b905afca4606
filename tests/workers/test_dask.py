"""
Partitions on the workers of a Dask cluster, of real processes: what is never reported, counted twice, or let in.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
import trustme
from support.catalog_values import PATIENT, planned
from support.clinic import Clinic
from support.clusters import Cluster, cluster
from support.independent import differences

from arrowetl.errors import DataLoadingError
from arrowetl.model.connection import VARIABLES
from arrowetl.model.plan import Partition
from arrowetl.replica.loader import Replica
from arrowetl.replica.spill import spilled
from arrowetl.sandbox import servers
from arrowetl.warehouse.loader import Warehouse

KEYED = "(Num int NOT NULL, Note varchar(200), PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8"
MASK_KEY = "0123456789abcdef-never-on-its-way"


def test_a_cluster_reloads_a_lagging_warehouse(clinic: Clinic) -> None:
    """From the replica, by the cluster's workers as well."""
    clinic.create(f"CREATE TABLE t {KEYED};\nINSERT INTO t SELECT seq, 'x' FROM seq_1_to_500")
    with cluster(clinic.environment, 1) as there:
        clinic.run("--all", "--executor", there.executor)
        clinic.warehouse_execute("DROP TABLE raw.t")
        run = clinic.run("--all", "--executor", there.executor)

    assert (run["exit_code"], differences(clinic.sandbox, "t")[0]) == (0, []), run["tables"]


@pytest.mark.parametrize("target", ["replica", "warehouse"])
def test_a_repeated_job_counts_once(clinic: Clinic, target: str) -> None:
    """What the second loaded is, and of the first nothing; once the attempt is over, nobody loads anything."""
    clinic.run()
    spills = clinic.directory / "spills"
    place = getattr(clinic.sandbox, target)
    there: Any = Warehouse(place) if target == "warehouse" else Replica(place, spills, partial(spilled, spills))
    there.open()
    plan, attempt = planned(PATIENT), "attempt-1"
    first, second = (Partition(0, 1, 100, resume_token="token", attempt=attempt, execution=name) for name in ("a", "b"))
    other = Partition(1, 100, None, resume_token="other", attempt=attempt, execution="c")
    rows = [pa.table({"PatNum": keys, "LName": names}) for keys, names in (([1, 2], ["a", "b"]), ([1, 3], ["c", "d"]))]
    there.prepare(plan, (), attempt)
    there.load(plan, other, [(plan, pa.table({"PatNum": [200], "LName": ["z"]}))])
    there.load(plan, first, [(plan, rows[0])])
    there.load(plan, second, [(plan, rows[1])])
    count = there.count(plan)
    loaded = there.close_attempt(plan, attempt)
    with pytest.raises(DataLoadingError, match="the attempt that it belongs to is over"):
        there.load(plan, replace(other, resume_token="late"), [(plan, rows[0])])

    assert (count, loaded) == (3, {"token": "b", "other": "c"})
    assert there.count(plan) == 3
    there.discard(plan)
    there.close()


def test_the_scheduler_sees_no_secret(clinic: Clinic) -> None:
    """Neither in its memory, nor its log, nor on its pages; the workers have the passwords of their environment."""
    clinic.environment["ARROWETL_MASK_KEY"] = MASK_KEY
    clinic.tables_file.write_text(
        "tables:\n  t: {batch_size: 500, overrides: {columns: {Note: {mask: hash}}}}\n"
        "  bad: {overrides: {columns: {Note: {type: varchar(3)}}}}\n"
    )
    # A value that is refused: the server's own words have it, with the full row.
    clinic.create(f"CREATE TABLE bad {KEYED};\nINSERT INTO bad VALUES (1, 'Verne is too long')")
    clinic.create(f"CREATE TABLE t {KEYED};\nINSERT INTO t SELECT seq, CONCAT('Verne ', seq) FROM seq_1_to_3000")
    with cluster(clinic.environment, 2) as there:
        run = clinic.run("--all", "--executor", there.executor)
        memory = _memory(there.processes["scheduler"].pid)
        pages = [_page(there, path) for path in ("info/main/workers.html", "info/main/logs.html", "json/counts.json")]
        reported = b"".join(path.read_bytes() for path in there.directory.glob("*.log"))

    secrets = {getattr(clinic.sandbox, name).password.encode() for name in VARIABLES} | {MASK_KEY.encode(), b"Verne "}
    assert {table["table"]: table["status"] for table in run["tables"]} == {"bad": "failed", "t": "succeeded"}
    assert b"loaded" in memory, "it was looked at"
    assert all(pages), "they were looked at"
    assert [secret for secret in secrets for place in (memory, reported, *pages) if secret in place] == []


def _memory(pid: int) -> bytes:
    found = []
    place = Path(f"/proc/{pid}")
    with (place / "maps").open() as maps, (place / "mem").open("rb", 0) as memory:
        for line in maps:
            addresses, rights, *_ = line.split()
            if rights.startswith("rw"):
                begin, target = (int(number, 16) for number in addresses.split("-"))
                with suppress(OSError, ValueError):
                    memory.seek(begin)
                    found.append(memory.read(target - begin))
    return b"".join(found)


def _page(there: Cluster, path: str) -> bytes:
    ports = {
        one.laddr.port
        for one in psutil.Process(there.processes["scheduler"].pid).net_connections("tcp")
        if one.status == "LISTEN"
    }
    for port in ports - {there.port}:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body
    return b""


def test_a_worker_of_another_version_is_refused(clinic: Clinic, tmp_path: Path) -> None:
    """The run ends before it began, and names worker, package and both versions."""
    clinic.create(f"CREATE TABLE t {KEYED};\nINSERT INTO t VALUES (1, 'x')")
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text(
        "import arrowetl.state.receipt_store\narrowetl.state.receipt_store.__version__ = '0.0.1'\n"
    )
    with cluster(clinic.environment, 2, lambda number: {"PYTHONPATH": str(other)} if number else {}) as there:
        done = clinic.arrowetl("run", "--all", "--executor", there.executor)

    assert done.returncode == 3
    assert "has arrowetl 0.0.1 instead of" in done.stderr and "tcp://127.0.0.1:" in done.stderr
    assert clinic.published() == {"replica": set(), "warehouse": set()}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"TEST_POSTGRES_ANALYTICS_PASSWORD": ""}, "and passwords do not travel: TEST_POSTGRES_ANALYTICS_PASSWORD"),
        ({"ARROWETL_MASK_KEY": "another-key-than-the-runs"}, "ARROWETL_MASK_KEY is another one than the run has"),
        ({"ETL_ENVIRONMENT": "production"}, "the run is of test, and this worker of production"),
    ],
)
def test_a_worker_with_other_settings_is_refused(clinic: Clinic, changed: dict[str, str], words: str) -> None:
    clinic.environment["ARROWETL_MASK_KEY"] = MASK_KEY
    clinic.create(f"CREATE TABLE t {KEYED};\nINSERT INTO t VALUES (1, 'x')")
    with cluster({**clinic.environment, **changed}, 1) as there:
        run = clinic.run("--all", "--executor", there.executor)

    (table,) = run["tables"]
    assert run["exit_code"] == 1
    assert words in table["error"]["message"]
    assert table["error"]["remedy"]


def test_workers_read_passwords_from_mounted_files(clinic: Clinic, tmp_path: Path) -> None:
    """Instead of the environment: the file has the name of the run's own."""
    clinic.create(f"CREATE TABLE t {KEYED};\nINSERT INTO t VALUES (1, 'x')")
    mounted = tmp_path / "secrets"
    mounted.mkdir()
    secrets = {name: value for name, value in clinic.environment.items() if name.endswith("_PASSWORD")}
    (mounted / ".env_test").write_text("".join(f"{name}='{value}'\n" for name, value in secrets.items()))
    others = {"ETL_ENVIRONMENT": "test", "ARROWETL_SECRETS_DIR": str(mounted)}
    with cluster(others, 1) as there:
        run = clinic.run("--all", "--executor", there.executor)

    assert run["exit_code"] == 0, run["tables"]
    assert differences(clinic.sandbox, "t")[0] == []


def test_clusters_may_require_tls(clinic: Clinic, tmp_path: Path) -> None:
    """As Dask has it: by its own settings, of scheduler, workers and the run; without them nobody is let in."""
    authority = trustme.CA()
    place = tmp_path / "tls"
    place.mkdir()
    authority.cert_pem.write_to_path(place / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(place / "cert.pem")
    files = {"CA_FILE": "ca.pem", **{f"{one}__CERT": "cert.pem" for one in ("SCHEDULER", "WORKER", "CLIENT")}}
    tls = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(place / file) for name, file in files.items()}
    clinic.create(f"CREATE TABLE t {KEYED};\nINSERT INTO t VALUES (1, 'x')")
    with cluster(clinic.environment, 1, tls=tls) as there:
        run = clinic.run("--all", "--executor", there.executor, **tls)
        refused = clinic.arrowetl("run", "--all", "--executor", there.executor)

    assert there.executor.startswith("dask:tls://")
    assert (run["exit_code"], differences(clinic.sandbox, "t")[0]) == (0, [])
    assert (refused.returncode, "Traceback" in refused.stderr) == (3, False), refused.stderr
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in refused.stderr


def test_a_missing_scheduler_is_refused(clinic: Clinic) -> None:
    clinic.create(f"CREATE TABLE t {KEYED}")
    began = time.monotonic()
    done = clinic.arrowetl("run", "--all", "--executor", f"dask:tcp://127.0.0.1:{servers.free_port()}")

    assert done.returncode == 4
    assert "no Dask scheduler at tcp://127.0.0.1:" in done.stderr
    assert time.monotonic() - began < 20


def test_without_dask_everything_else_works(clinic: Clinic) -> None:
    """All else works; who asks for it is reported what to install."""
    clinic.create(f"CREATE TABLE t {KEYED};\nINSERT INTO t VALUES (1, 'x')")
    hidden = "import sys; sys.modules['distributed'] = sys.modules['dask'] = None"
    code = f"{hidden}; from arrowetl.cli.main import main; main()"
    outside = {**clinic.environment, "PATH": "/usr/bin:/bin"}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "--config", str(clinic.tables_file), "run", "--all", *more]
        return subprocess.run(command, env=outside, capture_output=True, text=True, timeout=60, check=False)

    asked, other = run("--executor", "dask:tcp://127.0.0.1:8786"), run()

    assert (asked.returncode, "pip install 'arrowetl[dask]'" in asked.stderr) == (3, True)
    assert other.returncode == 0, other.stderr
