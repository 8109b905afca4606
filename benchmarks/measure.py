"""
A command's seconds, processor seconds and memory, its own and the servers'.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import psutil

from arrowetl.sandbox.servers import Sandbox


@dataclass(frozen=True)
class Measured:
    """What one run of a command took."""

    seconds: float
    cpu_client: float
    cpu_servers: Mapping[str, float]
    """Server → seconds of a core."""
    memory_mb: float
    """The largest resident set of any of its processes."""
    exit_code: int
    said: str
    """Its last words, where it failed."""
    output: str = ""
    """What it printed on stdout."""


def run(
    command: list[str], sandbox: Sandbox, environment: Mapping[str, str] | None = None, limit: int = 300
) -> Measured:
    """Run a command to its end, or for so many seconds."""
    before = servers_cpu(sandbox)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        clock = time.monotonic()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=errors,
            env={**_surroundings(), **(environment or {})},
            start_new_session=True,
        )
        status, usage, peak = _waited(process, limit)
        seconds = time.monotonic() - clock
        printed, said = (_text(file) for file in (output, errors))
    after = servers_cpu(sandbox)
    return Measured(
        seconds, usage.ru_utime + usage.ru_stime, {name: after[name] - before[name] for name in after},
        peak / 2**20, status, "" if status == 0 else ((said or printed).splitlines() or [""])[-1][:200], printed,
    )  # fmt: skip


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


def _surroundings() -> dict[str, str]:
    """Ours; but a program of Python's may keep what it compiled, as it may wherever it is installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _waited(process: subprocess.Popen[bytes], limit: int) -> tuple[int, Any, int]:
    """Exit code, usage of all its processes, the largest resident set seen (what wait shows begins with our own)."""
    deadline, peak, looks = time.monotonic() + limit, 0, 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage, peak
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
        if looks % _LOOKS == 0:
            peak = max(peak, _resident(process.pid))
        looks += 1
        time.sleep(0.005)


_LOOKS = 10


def _resident(pid: int) -> int:
    largest = 0
    try:
        parent = psutil.Process(pid)
        for one in (parent, *parent.children(recursive=True)):
            largest = max(largest, one.memory_info().rss)
    except psutil.NoSuchProcess:
        pass
    return largest


def servers_cpu(sandbox: Sandbox) -> dict[str, float]:
    """Server → seconds of a core that it and its ended children have used."""
    marks = json.loads((sandbox.directory / "sandbox.json").read_text())["processes"]
    return {name: _cpu(psutil.Process(mark["pid"])) for name, mark in marks.items()}


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    total = used.user + used.system + used.children_user + used.children_system
    for child in process.children():
        try:
            own = child.cpu_times()
            total += own.user + own.system
        except psutil.NoSuchProcess:
            continue
    return total
