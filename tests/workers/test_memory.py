"""
What was freed does not stay with the process.
"""

from __future__ import annotations

import subprocess
import sys

_KEPT = """
import ctypes
from arrowetl import limits
from arrowetl.workers import memory
import psutil
memory.share()
limits.resident_bytes_calm = 0
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
held = [library.malloc(4096) for _ in range(20_000)]
for pointer in held:
    ctypes.memset(pointer, 1, 4096)
for pointer in held[:-1]:  # the last one keeps the others from the end of the arena
    library.free(ctypes.c_void_p(pointer))
resident = lambda: psutil.Process().memory_info().rss
before = resident()
memory.give_back()
print(before - resident())
"""

_FIRST = """
import os, sys, arrowetl
print("polars" not in sys.modules and "dirty_decay_ms" in os.environ["_RJEM_MALLOC_CONF"])
"""

_ARROW = """
import pyarrow as pa
from arrowetl.workers import memory
memory.share()
print(pa.default_memory_pool().backend_name)
"""

_ARROW_LATER = """
from arrowetl.workers import memory
memory.share()
import pyarrow as pa
print(pa.default_memory_pool().backend_name)
"""


def _said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_freed_memory_is_returned_to_the_system() -> None:
    assert int(_said(_KEPT)) > 60 * 2**20


def test_polars_is_imported_after_its_allocator_is_set() -> None:
    assert _said(_FIRST) == "True"


def test_arrow_uses_the_system_allocator() -> None:
    assert _said(_ARROW) == _said(_ARROW_LATER) == "system"
