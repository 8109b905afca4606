"""
A directory that is made once, by the first process that needs it, and is complete or missing.

Several processes may want the same one at the same time: each makes its own
next to it and moves it there; the first wins, the others take what is
there. Nothing here knows what is in it (`programs`, `launch`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4


def made_once(place: Path, make: Callable[[Path], object]) -> Path:
    """
    Args:
        make: fills a directory that is not there yet.

    Returns:
        The place.

    Raises:
        OSError: it cannot be made; nothing is left of it.
    """
    if place.exists():
        return place
    unfinished = place.with_name(f"{place.name}.{os.getpid()}-{uuid4().hex[:8]}")
    try:
        make(unfinished)
        try:
            unfinished.rename(place)
        except OSError:
            # Another one was first, and made the same.
            if not place.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return place


def can_be_passed(place: Path) -> bool:
    """Whether other users of this machine can go through all directories above a place, and through it."""
    return all(one.stat().st_mode & 0o001 for one in (place, *place.parents) if one.is_dir())
