"""
What becomes of a spill where the disk is full: the words, and nothing left behind.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from arrowetl.errors import DataLoadingError
from arrowetl.replica import spill


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        # As Arrow says it, without a number.
        (OSError("[Errno 28] Error writing bytes to file. Detail: No space left on device"), "the disk is full"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(errno.EFBIG, "File too large"), "File too large"),
    ],
)
def test_a_full_disk_is_called_so(error: OSError, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataLoadingError) as failed, spill._disk_errors_explained(tmp_path):
        raise error

    assert f"spill in {tmp_path}: {words} (" in failed.value.message
    assert "ARROWETL_SPILL_DIR" in (failed.value.remedy or "")
