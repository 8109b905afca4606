"""
Programs that tests start, in a hundredth of a second each: forked from a process that has read in what they need.

Starting Python and arrowetl's libraries takes a second of a core and more, and the tests do it two thousand
times. What is started is a process as any other: of its own environment, directory, streams and signals. What
depends on how Python itself starts is to be started as usual.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
WITHOUT_PANDAS = HERE / "without_pandas"
_MOST = 1 << 20
# Threads of pyarrow's allocator, which starts them again, and of polars, for what it spills: it spills nothing here.
_SPARED = {"jemalloc_bg_thd", "polars-ooc-clea"}
# What decides how Python or a library starts.
_PARTS = ("LANG", "LC_", "PYTHON", "MALLOC_", "POLARS_", "OMP_")


class Program:
    """A process that was started: as much of `subprocess.Popen` as tests ask of it, in its words."""

    def __init__(
        self, pid: int, pidfd: int, ended: socket.socket, stdout: IO[str], stderr: IO[str], args: Sequence[str]
    ) -> None:
        self.pid, self.args, self.stdout, self.stderr = pid, args, stdout, stderr
        self.returncode: int | None = None
        # Its number may be another process's by the time that it is signalled.
        self._pidfd, self._ended = pidfd, ended

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self._take()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._take()
        assert self.returncode is not None
        return self.returncode

    def _take(self) -> None:
        self.returncode = int(self._ended.recv(16))
        self._ended.close()
        os.close(self._pidfd)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said, after its end."""
        deadline, said = None if timeout is None else time.monotonic() + timeout, {}

        def read(name: str, stream: IO[str]) -> None:
            said[name] = "" if stream.closed else stream.read()

        readers = [threading.Thread(target=read, args=(n, getattr(self, n)), daemon=True) for n in ("stdout", "stderr")]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(1, deadline - time.monotonic()))
        self.stdout.close()
        self.stderr.close()
        return said["stdout"], said["stderr"]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()


Started = Program | subprocess.Popen[str]


def start(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], directory: Path, file_bytes: int = 0
) -> Started:
    """
    Start a Python program.

    Args:
        program: `arrowetl`, or the path of a file.
        environment: all that it is to have.
        file_bytes: past which no file of its may grow; 0 is no limit. It is started as usual then.
    """
    if hasattr(os, "pidfd_open") and not file_bytes and not _differs(environment):
        return _origin().start(program, arguments, environment, directory)
    command = [sys.executable, *(["-m", program] if "/" not in program else [program]), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory,
        preexec_fn=partial(_limit_files, file_bytes) if file_bytes else None,
    )  # fmt: skip


def _limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _differs(environment: Mapping[str, str]) -> bool:
    """Whether Python or a library would start otherwise in that environment than in this one."""
    mine = {name: value for name, value in os.environ.items() if name.startswith(_PARTS)}
    theirs = {name: value for name, value in environment.items() if name.startswith(_PARTS)}
    ours = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    return any(mine.get(name) != theirs.get(name) for name in (mine.keys() | theirs.keys()) - ours)


class _Origin:
    """The process that has read in everything, and the line to it."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._line, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(theirs.fileno())],
            # A library of numbers would start threads, which a fork does not copy.
            env={**outside, "PYTHONPATH": str(WITHOUT_PANDAS), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._lock = threading.Lock()
        atexit.register(self.close)

    def start(self, program: str, arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> Program:
        (out, out_end), (err, err_end), (ended, reported) = os.pipe(), os.pipe(), socket.socketpair()
        request = json.dumps([program, list(arguments), dict(environment), str(directory)]).encode()
        given = [out_end, err_end, reported.fileno()]
        with self._lock:
            socket.send_fds(self._line, [request], given)
            pid, (pidfd,), _, _ = socket.recv_fds(self._line, 16, 1)
        os.close(out_end)
        os.close(err_end)
        reported.close()
        return Program(int(pid), pidfd, ended, os.fdopen(out), os.fdopen(err), [program, *arguments])

    def close(self) -> None:
        self._line.close()
        self._process.wait()


_ORIGINS: list[_Origin] = []


def _origin() -> _Origin:
    if not _ORIGINS:
        _ORIGINS.append(_Origin())
    return _ORIGINS[0]


# --- the other side -----------------------------------------------------------------------------


def _read_in() -> None:
    """All that the command may import; `cluster` needs what would start threads."""
    import importlib
    import pkgutil

    import arrowetl

    for module in pkgutil.walk_packages(arrowetl.__path__, "arrowetl."):
        if module.name not in ("arrowetl.__main__", "arrowetl.workers.dask_client"):
            importlib.import_module(module.name)
    # What `arrowetl` reads in when it is first asked for.
    for name in ("polars", "pyarrow.compute", "pyarrow.parquet", "connectorx", "adbc_driver_postgresql.dbapi", "psutil",
                 "rich.live", "http.client", "urllib.request"):  # fmt: skip
        importlib.import_module(name)
    threads = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    others = threads - _SPARED - {Path("/proc/self/comm").read_text().strip()}
    assert not others, f"threads that a fork does not copy: {others}"


def _serve(line: socket.socket) -> tuple[str, list[str]]:
    """Fork for each request; returns in the children alone, with what each is to do."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, _, _ = select.select([line, *waiting], [], [])
        for pidfd in [one for one in ready if one is not line]:
            pid, reported = waiting.pop(pidfd)
            _, status = os.waitpid(pid, 0)
            reported.send(str(os.waitstatus_to_exitcode(status)).encode())
            reported.close()
            os.close(pidfd)
        if line not in ready:
            continue
        request, given, _, _ = socket.recv_fds(line, _MOST, 3)
        if not request:
            os._exit(0)
        pid = os.fork()
        if not pid:
            for one, (_, reported) in waiting.items():
                os.close(one)
                reported.close()
            line.close()
            os.close(given[2])
            return _become(json.loads(request), given)
        os.close(given[0])
        os.close(given[1])
        pidfd = os.pidfd_open(pid)
        waiting[pidfd] = pid, socket.socket(fileno=given[2])
        socket.send_fds(line, [str(pid).encode()], [pidfd])


def _become(request: list[Any], given: Sequence[int]) -> tuple[str, list[str]]:
    """The program that was asked for: its streams, directory, environment; nothing shared that is random."""
    import random

    program, arguments, environment, directory = request
    for there, here in zip(given, (1, 2), strict=False):
        os.dup2(there, here)
        os.close(there)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    random.seed()
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        stream = open(number, "w", encoding=sys.stdout.encoding, errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.path[0] = directory
    return program, arguments


if __name__ == "__main__":
    import gc
    import runpy

    _read_in()
    gc.freeze()
    name, given = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [name, *given]
    if "/" in name:
        sys.path[0] = str(Path(name).parent)
        runpy.run_path(name, run_name="__main__")
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
