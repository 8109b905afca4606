"""
What several processes want at once is made by one of them, whole, and taken by the others.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arrowetl.sandbox import servers
from arrowetl.sandbox.once import can_be_passed, made_once
from arrowetl.sandbox.programs import reachable_by_others


def test_the_first_process_wins_and_others_reuse(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def make(place: Path) -> None:
        together.wait(10)  # all have looked, and found nothing
        place.mkdir()
        (place / "part").write_text(place.name)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: made_once(tmp_path / "made", make), range(8)))
    assert found == [tmp_path / "made"] * 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]
    assert (tmp_path / "made" / "part").read_text().startswith("made.")


def test_a_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    def make(place: Path) -> None:
        place.mkdir()
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        made_once(tmp_path / "made", make)
    assert list(tmp_path.iterdir()) == []


_COPY = """
import sys
from pathlib import Path
from arrowetl.sandbox.programs import reachable_by_others
print(reachable_by_others(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_concurrent_copies_of_the_programs_all_succeed(tmp_path: Path) -> None:
    """As those of the tests do, in a home that others may not enter."""
    home, copies = tmp_path / "home", tmp_path / "copies"
    programs = home / "site" / "package" / "pginstall16" / "bin"
    programs.mkdir(parents=True)
    for number in range(300):
        (programs / f"program-{number}").write_text("#!")
    home.chmod(0o700)
    copies.mkdir()
    started = [
        subprocess.Popen([sys.executable, "-c", _COPY, str(programs), str(copies)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    places = {process.communicate()[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * 4
    (place,) = places
    assert len(list(Path(place).iterdir())) == 300
    assert len(list(copies.iterdir())) == 1


def test_programs_runnable_by_others_are_not_copied(tmp_path: Path) -> None:
    if not can_be_passed(tmp_path):
        # pytest's own directories are private: one next to them is not.
        for parent in (tmp_path, *tmp_path.parents):
            if parent.owner() == tmp_path.owner() and parent.name.startswith(("test_", "popen-", "pytest-")):
                parent.chmod(0o711)
    programs = tmp_path / "pginstall16" / "bin"
    programs.mkdir(parents=True)
    assert reachable_by_others(programs, tmp_path / "copies") == programs


def test_a_private_tmpdir_is_not_used_for_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nox sets TMPDIR below the clone."""
    tmp_path.chmod(0o700)
    monkeypatch.setattr(servers, "_as_another_user", lambda: True)
    monkeypatch.delenv("ARROWETL_SANDBOX_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert can_be_passed(servers.root())
    monkeypatch.setenv("ARROWETL_SANDBOX_DIR", str(tmp_path / "chosen"))
    with pytest.raises(servers.ConfigurationError, match="others may not enter") as refused:
        servers.root()
    assert "ARROWETL_SANDBOX_DIR" in (refused.value.remedy or "")
