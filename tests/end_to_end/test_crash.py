"""
A warehouse that crashes right after a cutover was rolled back: it starts again, and the next run is a run.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.clinic import Clinic
from support.faults import ground, wait_for
from support.independent import differences

from arrowetl import drivers

pytestmark = pytest.mark.server


def test_postgres_starts_after_a_crash_in_a_rolled_back_cutover(clinic: Clinic, tmp_path: Path) -> None:
    """
    What shows of the rollback is not written yet. Of an unlogged table that was made in it PostgreSQL would keep an
    empty file, restore another next to it from what is written, and refuse to start over the two.
    """
    clinic.create("CREATE TABLE t (Id int PRIMARY KEY, V int);\nINSERT INTO t SELECT seq, seq FROM seq_1_to_1000")
    assert clinic.run()["exit_code"] == 0
    clinic.create("UPDATE t SET V = 0 WHERE Id = 7")
    with ground(clinic) as there:
        process = there.start("run", "--all", "--json", at="warehouse's cutover", directory=tmp_path)
        assert wait_for(tmp_path / "reached", process)
        admin = drivers.Postgres(clinic.sandbox.admin("warehouse"))
        server = there.process("warehouse")
        (writer,) = (one for one in server.children() if "walwriter" in " ".join(one.cmdline()))
        writer.suspend()
        # A commit of somebody else writes down what the cutover has done so far.
        admin.execute("CREATE TABLE public.somebodys (a int)")
        ended = admin.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name LIKE 'arrowetl%' AND state = 'idle in transaction'"
        )
        admin.close()
        there.kill("warehouse")
        process.kill()
        process.wait()
        there.mend()

    assert ended == [(True,)]
    assert clinic.run()["exit_code"] == 0
    assert differences(clinic.sandbox, "t") == ([], {})
