"""
What a source's catalog says, and what is read out of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Column, Table
from arrowetl.source import catalog


@pytest.mark.parametrize(
    ("expression", "depends_on"),
    [
        ("`a` + `b`", ""),
        ("timestampdiff(YEAR,`Born`,curdate())", "curdate()"),
        ("CURRENT_TIMESTAMP", "current_timestamp()"),
        ("current_timestamp(6)", "current_timestamp()"),
        ("unix_timestamp() - `At`", "unix_timestamp()"),
        ("unix_timestamp ( )", "unix_timestamp()"),
        # Of a time that is given it depends on nothing else.
        ("unix_timestamp(`At`)", ""),
        ("concat(@@session.time_zone, `a`)", "@@()"),
        ("(@@lc_time_names)", "@@()"),
        ("rand()", "rand()"),
        ("uuid ()", "uuid()"),
        ("concat('now()', `a`)", ""),
        ("`now()` + 1", ""),
        ("concat(`a`, 'it''s rand()')", ""),
        ("knower(`a`)", ""),
        (None, ""),
    ],
)
def test_nondeterministic_generated_columns_are_recognised(expression: str | None, depends_on: str) -> None:
    """A clock, chance, or who asks: its values are not of its row alone."""
    assert catalog._depends_on("VIRTUAL GENERATED", expression) == depends_on
    assert catalog._depends_on("STORED GENERATED", expression) == ""


@pytest.mark.parametrize(
    ("type_", "expression", "depends"),
    [
        ("datetime", "`T`", True),
        ("date", "cast(`T` as date)", True),
        ("timestamp", "`T`", True),
        ("datetime", "coalesce(`T`,`D`)", True),
        ("varchar", "if(`Id`,`T`,`D`)", True),
        ("int", "year(`T`)", True),
        ("int", "to_days(`T`) - to_days(`D`)", True),
        ("datetime", "cast(`odd``name` as datetime)", True),
        ("datetime", "`D`", False),
        ("int", "year(`D`)", False),
        ("time", "addtime(`T`,'1:0:0')", False),
        ("int", "hour(`T`)", False),
        ("int", "`T` > 0", False),
        ("varchar", "concat(`T`,'x')", False),
        ("varchar", "concat('`T`', year(`D`))", False),
    ],
)
def test_times_read_as_dates_are_recognised(type_: str, expression: str, depends: bool) -> None:
    """Where a TIME is taken for a date: by its own type, or by a function that may want one."""
    found = catalog._depends_on("VIRTUAL GENERATED", expression, type_, ["T", "odd`name"])

    assert found == ("curdate()" if depends else "")


NOON = datetime(2026, 7, 1, 12)
HALL = Table(
    "hall", Flavour.MARIADB, "MyISAM", "utf8", "utf8_general_ci", 5, 100, 20, (Column("Id", "int", "int(11)", False),),
    ("Id",), update_time=NOON, create_time=NOON,
)  # fmt: skip
NAMES = "hall has the same columns, rows and times, and may have changed names with it"
PARTITION = "a partition may have been exchanged with hall, which moves no time of a table"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (HALL, NAMES),
        (replace(HALL, indexes=(), data_bytes=7), NAMES),
        (replace(HALL, rows=6), ""),
        (replace(HALL, update_time=NOON + timedelta(seconds=1)), ""),
        (replace(HALL, create_time=NOON + timedelta(seconds=1)), ""),
        (replace(HALL, engine="InnoDB"), ""),
        (replace(HALL, columns=(Column("Nr", "int", "int(11)", False),)), ""),
        (replace(HALL, columns=(Column("Id", "int", "int(10) unsigned", False),)), ""),
        (replace(HALL, partitioned=True, update_time=None, rows=77), PARTITION),
        (replace(HALL, partitioned=True, engine="InnoDB"), PARTITION),
    ],
)
def test_exchangeable_tables_are_recognised(other: Table, words: str) -> None:
    """By RENAME within a second, or by EXCHANGE PARTITION: nothing that either says of itself would have moved."""
    room = replace(other, name="room")
    found = catalog.with_exchanges({"hall": HALL, "room": room})

    assert found["room"].exchangeable + found["room"].exchanges_partitions == words
    assert bool(found["room"].exchanges_partitions) == room.partitioned
    assert bool(found["hall"].exchangeable + found["hall"].exchanges_partitions) == bool(words)
    assert catalog.with_exchanges({"hall": HALL})["hall"].exchangeable == ""
