"""
What may be asked of a run, and what not: whoever asks, it is refused in the same words.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import arrowetl
from arrowetl.errors import UsageError
from arrowetl.model.run_options import RunOptions


@pytest.mark.parametrize(
    ("asked", "reported"),
    [
        ({}, "which tables are meant?"),
        ({"all": True, "tables": ["patient"]}, "which tables are meant?"),
        ({"category": "huge"}, "no category 'huge'"),
        ({"all": True, "read_from": "warehouse"}, "cannot read from 'warehouse'"),
        ({"all": True, "to": "source"}, "cannot write to 'source'"),
        ({"all": True, "read_from": "replica", "to": "replica"}, "the replica cannot be written from the replica"),
        ({"all": True, "executor": "fork"}, "no executor 'fork'"),
        ({"all": True, "publish": "never"}, "cannot publish 'never'"),
        ({"all": True, "publish": "together", "to": "replica"}, "tables are published together at the warehouse"),
        ({"all": True, "max_workers": 0}, "--max-workers must be 1 … 64, got 0"),
        ({"all": True, "max_source_connections": 0}, "--max-source-connections must be 1 or more, got 0"),
    ],
)
def test_impossible_options_are_refused(asked: dict[str, Any], reported: str) -> None:
    with pytest.raises(UsageError) as refusal:
        RunOptions(**asked)

    assert refusal.value.message == reported


@pytest.mark.parametrize("asked", [{"tables": ["a"]}, {"category": "large"}, {"all": True, "executor": "process"}])
def test_possible_options_are_accepted(asked: dict[str, Any]) -> None:
    assert RunOptions(**asked).route_label == "source to both"


def test_an_unknown_option_is_refused_by_name() -> None:
    """From Python: reported by its name, before anything is done."""
    from arrowetl.api import Etl

    with pytest.raises(TypeError, match="a run has no option force"):
        Etl(SimpleNamespace(targets="both")).run(all=True, force=True)  # type: ignore[arg-type]
    assert arrowetl.Etl is Etl
