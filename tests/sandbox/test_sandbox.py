"""
The sandbox's promises: private, deleted with its owner, whole after kill -9.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from arrowetl import drivers
from arrowetl.errors import ConfigurationError
from arrowetl.sandbox import programs, servers

pytestmark = pytest.mark.server


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sandboxes of this test alone."""
    place = Path("/tmp") / f"arrowetl-test-{os.getpid()}-{time.time_ns()}"
    monkeypatch.setenv("ARROWETL_SANDBOX_DIR", str(place))
    yield place
    for directory in place.iterdir() if place.exists() else ():
        servers.stop(directory.name, delete=True)
    subprocess.run(["rm", "-rf", str(place)], check=True)


def _pids(place: Path, name: str) -> list[int]:
    state = json.loads((place / name / "sandbox.json").read_text())
    return [mark["pid"] for mark in state["processes"].values()]


def test_data_survives_killing_every_server(elsewhere: Path) -> None:
    """kill -9 of all three; started again, what was committed is there; `down` stops them and keeps it, too."""
    first = servers.start("durable")
    for server in ("source", "replica"):
        session = drivers.MySQL(first.admin(server))
        session.execute(f"CREATE TABLE t (n int PRIMARY KEY) ENGINE={'MyISAM' if server == 'source' else 'InnoDB'}")
        session.execute("INSERT INTO t SELECT seq FROM seq_1_to_1000")
        session.close()
    session = drivers.Postgres(first.warehouse)
    session.execute("CREATE TABLE public.t AS SELECT generate_series(1, 1000) n")
    session.close()
    counts = []
    for stop in ("kill", "down"):
        if stop == "kill":
            for pid in _pids(elsewhere, "durable"):
                os.kill(pid, signal.SIGKILL)
                psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
        else:
            assert sorted(servers.stop("durable", delete=False)) == ["replica", "source", "warehouse"]
        again = servers.start("durable")
        for server in ("source", "replica"):
            session = drivers.MySQL(again.admin(server))
            counts += session.rows("SELECT COUNT(*) FROM t")
            session.close()
        session = drivers.Postgres(again.warehouse)
        counts += session.rows("SELECT count(*) FROM public.t")
        session.close()

    assert counts == [(1000,)] * 6


def test_servers_stop_after_their_owner_was_killed(elsewhere: Path) -> None:
    """The owner gets kill -9; the next start of any sandbox stops its servers and removes their data."""
    code = (
        "import time; from arrowetl.sandbox import servers; servers.start('orphan'); "
        "print('up', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    pids = _pids(elsewhere, "orphan")
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert all(psutil.pid_exists(pid) for pid in pids)
    servers.sweep()

    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert not (elsewhere / "orphan").exists()


def test_a_taken_port_is_reported(elsewhere: Path) -> None:
    """Nothing is started; the port, whose it was to be, and how to choose others."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError) as refusal:
            servers.start("taken", {"source": 23_906, "replica": 23_907, "warehouse": port})

    assert f"port {port}, meant for the warehouse, is taken" in str(refusal.value)
    assert "--ports" in str(refusal.value)
    assert _pids(elsewhere, "taken") == []


def test_a_missing_mariadb_is_reported_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mariadbd anywhere: the error names one command."""
    monkeypatch.setattr(programs.shutil, "which", lambda name, path=None: "/usr/bin/dnf" if name == "dnf" else None)
    with pytest.raises(ConfigurationError) as refusal:
        programs.mariadb()

    assert "mariadbd is neither on the PATH" in refusal.value.message
    assert "dnf install -y mariadb-server" in (refusal.value.remedy or "")


def test_the_committed_settings_work_with_sandbox_up(elsewhere: Path, tmp_path: Path) -> None:
    """conf/.env_test and conf/tables.yml work against `sandbox up` without a change; `up` prints only exports."""
    conf = Path(__file__).parent.parent.parent / "conf"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TEST_")}
    environment["ETL_ENVIRONMENT"] = "test"

    def arrowetl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arrowetl", "--config", str(conf / "tables.yml"), *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    up = arrowetl("sandbox", "up")
    assert up.returncode == 0, up.stderr
    assert all(
        line.startswith("export TEST_") or line == "export ETL_ENVIRONMENT=test" for line in up.stdout.splitlines()
    )
    assert arrowetl("sandbox", "seed", "--scale", "tiny").returncode == 0
    validated = arrowetl("validate")
    assert (validated.returncode, validated.stdout) == (0, "no problem found\n")
    run = arrowetl("run", "--table", "patient,appointment")
    assert run.returncode == 0, run.stderr
    status = arrowetl("status")
    assert "patient" in status.stdout
    assert "2 tables, 0 failed" in status.stdout
    assert "127.0.0.1:23306" in arrowetl("sandbox", "status").stdout
    assert arrowetl("sandbox", "down", "--delete").returncode == 0
    assert arrowetl("run", "--all").returncode == 4
