"""
Partitions on disk: as text for LOAD DATA, or as Arrow that waits for the warehouse.

A run's spills live in one directory that only its owner can read, and are
removed as soon as they are loaded; a run that was killed leaves its directory
to be removed by the next. What is in a spill is `to_infile`'s business.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

import psutil
import pyarrow as pa

from arrowetl import limits
from arrowetl.errors import ConfigurationError, DataLoadingError

_PREFIX = "arrowetl-spill-"
_REMEDY = "free some space there, or choose another place in ARROWETL_SPILL_DIR"


@contextmanager
def run_directory(parent: Path, prefix: str = _PREFIX, remedy: str = _REMEDY) -> Iterator[Path]:
    """
    A private directory below `parent` for the length of a run; those of runs that no longer exist are removed.

    Args:
        prefix: what its name begins with, and that of the others.

    Raises:
        ConfigurationError: nothing can be written there.
    """
    _refuse_others(parent, remedy)
    _remove_abandoned(parent, prefix)
    started = int(psutil.Process().create_time())
    try:
        directory = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-{started}-", dir=parent))
    except OSError as error:
        raise ConfigurationError(f"no directory can be made in {parent}: {_words(error, 1)}", remedy) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def spilled(directory: Path, write: Callable[[IO[bytes]], None]) -> Iterator[Path]:
    """
    What `write` writes, as a file for as long as the block lasts.

    Raises:
        DataLoadingError: the disk is full, or cannot be written.
    """
    path = directory / f"{uuid4().hex}.tsv"
    try:
        with _disk_errors_explained(directory), open(path, "wb", opener=_privately) as file:
            write(file)
        yield path
    finally:
        path.unlink(missing_ok=True)


def keep(directory: Path, table: str, rows: pa.Table) -> Path:
    """
    Rows of a table that wait there, until they are `taken`, or `drop` removes all of the table.

    Raises:
        DataLoadingError: the disk is full, or cannot be written.
    """
    path = directory / f"{_mark(table)}-{uuid4().hex}.arrow"
    with (
        _disk_errors_explained(directory),
        open(path, "wb", opener=_privately) as file,
        pa.ipc.new_file(file, rows.schema) as writer,
    ):
        writer.write_table(rows)
    return path


@contextmanager
def taken(path: Path) -> Iterator[pa.Table]:
    """Rows that were kept, for the length of the block; their file is removed with it."""
    try:
        with pa.memory_map(str(path)) as file:
            yield pa.ipc.open_file(file).read_all()
    finally:
        path.unlink(missing_ok=True)


def drop(directory: Path, table: str) -> None:
    """Remove whatever waits of a table."""
    for path in directory.glob(f"{_mark(table)}-*.arrow"):
        path.unlink(missing_ok=True)


def has_disk_space(directory: Path, bytes_: int) -> bool:
    """Whether so many bytes more may wait there; concurrent writers may exceed it by a partition."""
    waiting = sum(map(_size, directory.glob("*.arrow")))
    most = min(limits.deferred_bytes_max, shutil.disk_usage(directory).free * limits.waiting_share_of_free)
    return waiting + bytes_ <= most


def _size(path: Path) -> int:
    """Bytes of a file; 0 of one that was taken meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _mark(table: str) -> str:
    """A table's name may hold what a file's cannot."""
    return hashlib.sha256(table.encode()).hexdigest()[:16]


@contextmanager
def _disk_errors_explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(directory).free // 2**20
        raise DataLoadingError(
            f"spill in {directory}: {_words(error, free)} ({free:,} MiB free)",
            "free some space, choose another place in ARROWETL_SPILL_DIR, or lower --max-workers",
        ) from error


def _words(error: OSError, free: int) -> str:
    # What Arrow writes through fails without a number.
    is_full = error.errno == errno.ENOSPC or "No space left" in str(error) or (error.errno is None and not free)
    return "the disk is full" if is_full else os.strerror(error.errno or errno.EIO)


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _refuse_others(parent: Path, remedy: str) -> None:
    """
    Raises:
        ConfigurationError: others may rename what is made there, and put something else in its place.
    """
    with contextlib.suppress(OSError):
        found = parent.stat()
        if os.name == "posix" and found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            raise ConfigurationError(
                f"{parent}: others may write there, and what is spilled there is patients' data",
                f"chmod o-w {parent}, or {remedy.partition(', or ')[2] or remedy}",
            )


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for directory in parent.glob(f"{prefix}*-*-*"):
        pid, started = directory.name.removeprefix(prefix).split("-")[:2]
        with contextlib.suppress(ValueError, OSError):
            if not _runs(int(pid), int(started)):
                shutil.rmtree(directory, ignore_errors=True)


def _runs(pid: int, started: int) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) < 2
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
