"""
How much of this process's memory stays with its allocators.

Arrow's batches, their text and what connectorx reads into are made and dropped
by many threads, and three allocators would each keep what was dropped: of 0.15
of a clinic, 8 workers held 470 MB for 130 that were in use; so they hold 340,
in the same time. Nothing here is needed for any result, and where the C
library is another one, less of it is done. `pool` asks for it after each
partition.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

from arrowetl import limits

_M_ARENA_MAX = -8


class _Seen:
    """How much of this process was resident after the last time that something was returned."""

    bytes = 0


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        _ = library.mallopt, library.malloc_trim
    except (OSError, TypeError, AttributeError):  # of Windows, of other C libraries
        return None
    return library


_LIBRARY = _glibc()


def share() -> None:
    """Let all threads of this process, Arrow's and Rust's as well, allocate from a few arenas; for our own program."""
    if _LIBRARY:
        _LIBRARY.mallopt(_M_ARENA_MAX, limits.malloc_arenas)
        # Arrow asks when it is imported.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        if arrow := sys.modules.get("pyarrow"):
            arrow.set_memory_pool(arrow.system_memory_pool())


def give_back() -> None:
    """Return to the system what was freed, from the middle of the arenas as well, where the process has grown."""
    import psutil

    grown = max(limits.resident_bytes_calm, _Seen.bytes + limits.resident_bytes_grown)
    with suppress(psutil.Error):  # nothing hangs on it
        if _LIBRARY and psutil.Process().memory_info().rss > grown:
            _LIBRARY.malloc_trim(0)
            _Seen.bytes = psutil.Process().memory_info().rss
