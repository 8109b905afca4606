"""
Partitions on disk between the reading of them and LOAD DATA.

A run's spills live in one directory that only its owner can read, and are
removed as soon as they are loaded; a run that was killed leaves its directory
to be removed by the next. What is in a spill is `infile`'s business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from arrowetl.errors import DataLoadingError

_PREFIX = "arrowetl-spill-"


class Spill:
    """The spill directory of one run."""

    def __init__(self, parent: Path) -> None:
        """
        Make a private directory below `parent`; remove those of runs that are no more.
        """
        _remove_abandoned(parent)
        started = int(psutil.Process().create_time())
        self.directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{started}-", dir=parent))

    @contextmanager
    def file(self, name: str, write: Callable[[IO[bytes]], None]) -> Iterator[Path]:
        """
        A spill for as long as the block lasts.

        Raises:
            DataLoadingError: the disk is full, or cannot be written.
        """
        path = self.directory / name
        try:
            try:
                with path.open("wb") as file:
                    write(file)
            except OSError as error:
                free = shutil.disk_usage(self.directory).free // 2**20
                what = "the disk is full" if error.errno == errno.ENOSPC else os.strerror(error.errno or errno.EIO)
                raise DataLoadingError(
                    f"spill in {self.directory}: {what} ({free:,} MiB free)",
                    "free some space, choose another place in ARROWETL_SPILL_DIR, or lower --max-workers",
                ) from error
            yield path
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*-*-*"):
        pid, started = directory.name.removeprefix(_PREFIX).split("-")[:2]
        with contextlib.suppress(ValueError, OSError):
            if not _runs(int(pid), int(started)):
                shutil.rmtree(directory, ignore_errors=True)


def _runs(pid: int, started: int) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) < 2
    except psutil.NoSuchProcess:
        return False
