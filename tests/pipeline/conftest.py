"""
What several modules here are on.
"""

from __future__ import annotations

import pytest
from support.clinic import Clinic, configure
from support.practice import FULL_TABLES, PRACTICE, SETTLE, TOGETHER


@pytest.fixture
def practice(clinic: Clinic) -> Clinic:
    """Three tables that must agree, at all three servers."""
    configure(clinic, **FULL_TABLES)
    clinic.create(PRACTICE)
    clinic.create(SETTLE)
    assert clinic.run(*TOGETHER[1:])["exit_code"] == 0
    return clinic
