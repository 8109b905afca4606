"""
What is decided about a table, as tables of facts.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.catalog_values import PATIENT, column, planned, table

from arrowetl.errors import DataError
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Cutover, Mode, PublishedTable
from arrowetl.model.result import Coercion
from arrowetl.planning import table_plan

COLUMNS = (("PatNum", "bigint"), ("LName", "text"))


def used(published: PublishedTable) -> PublishedTable:
    """The table with a view on all of its columns."""
    return replace(published, dependents=("dbt.v",), used={name: ("dbt.v",) for name, _ in published.columns})


@pytest.mark.parametrize(
    ("rows", "category"),
    [(0, "tiny"), (9_999, "tiny"), (10_000, "small"), (100_000, "medium"), (999_999, "medium"), (1_000_000, "large")],
)
def test_categories_follow_row_counts(rows: int, category: str) -> None:
    """As tables.yml's readers know them."""
    assert table_plan.category_of(rows) == category


@pytest.mark.parametrize(
    ("published", "cutover", "follows"),
    [
        (None, Cutover.SWAP, ""),
        (PublishedTable(COLUMNS, ("PatNum",)), Cutover.MERGE, ""),
        (PublishedTable(COLUMNS, ("PatNum",), ("dbt.stg_patient",)), Cutover.MERGE, ""),
        (PublishedTable(COLUMNS[:1], ("PatNum",)), Cutover.MERGE, "added LName"),
        (PublishedTable((*COLUMNS, ("Dropped", "text")), ("PatNum",)), Cutover.MERGE, "dropped Dropped"),
        (PublishedTable((("PatNum", "integer"), COLUMNS[1]), ("PatNum",)), Cutover.MERGE, "retyped PatNum, widened"),
        (PublishedTable((COLUMNS[0], ("LName", "date")), ("PatNum",)), Cutover.MERGE, "retyped LName"),
        (PublishedTable((("PatNum", "date"), COLUMNS[1]), ("PatNum",)), Cutover.MATCH, "retyped PatNum, another key"),
        (PublishedTable(COLUMNS, ("LName",)), Cutover.MATCH, "another key"),
        (PublishedTable(COLUMNS, ()), Cutover.MATCH, "a key"),
    ],
)
def test_a_first_load_swaps_and_later_loads_merge(
    published: PublishedTable | None, cutover: Cutover, follows: str
) -> None:
    """A first load swaps; afterwards the table stays the one it is, whatever becomes of its columns."""
    decided = table_plan.table_plan(PATIENT, TableSettings(), published, known_coercions=())
    drift = decided.drift
    words = [f"added {f.name_postgres}" for f in drift.added] + [f"dropped {name}" for name in drift.dropped]
    words += [f"retyped {f.name_postgres}" + ", widened" * (f in drift.widened) for f in drift.retyped]
    words += ["another key"] if drift.adds_key and drift.drops_key else ["a key"] if drift.adds_key else []

    assert (decided.cutover, ", ".join(words)) == (cutover, follows)


def test_views_named_like_a_table_are_refused() -> None:
    """A view of somebody's by that name is refused before any row moves."""
    with pytest.raises(DataError, match="a materialized view of that name exists at the warehouse"):
        planned(PATIENT, PublishedTable(COLUMNS, (), kind="materialized view"))


def test_schema_changes_are_in_the_notes() -> None:
    """With what changes, in the plan: `validate`, a dry run and the summary show it."""
    decided = planned(PATIENT, PublishedTable((("PatNum", "date"), ("own", "text")), ("PatNum",)))

    assert decided.notes == (
        "PatNum becomes bigint instead of date",
        "column LName is added at the warehouse",
        "column own is dropped at the warehouse",
    )


def test_blocked_changes_name_the_override_that_keeps_types() -> None:
    """A table of our own whose override was lost: the refusal says which one would keep the views."""
    there = used(PublishedTable((("PatNum", "boolean"), COLUMNS[1]), ("PatNum",)))
    with pytest.raises(DataError) as refusal:
        table_plan.table_plan(PATIENT, TableSettings(), there, known_coercions=())

    kept = "tables.patient.columns: PatNum: {type: boolean}"
    assert f"keep the warehouse's types with {kept}" in str(refusal.value)


@pytest.mark.parametrize(
    ("published", "reported"),
    [
        (PublishedTable((("PatNum", "date"), COLUMNS[1]), ("PatNum",)), "PatNum becomes bigint instead of date"),
        (PublishedTable((*COLUMNS, ("Dropped", "text")), ("PatNum",)),
         "Dropped is in the warehouse's table and not in the source's"),
        (PublishedTable((*COLUMNS, ("lname", "text")), ("PatNum",)),
         "lname is in the warehouse's table, which the source spells LName"),
    ],
)  # fmt: skip
def test_changes_blocked_by_views_are_refused(published: PublishedTable, reported: str) -> None:
    """Before any data moves, with the views named; unless they may be recreated, and name no dropped column."""
    with pytest.raises(DataError, match=reported) as refusal:
        planned(PATIENT, used(published))
    assert "dbt.v" in refusal.value.message

    if "becomes" in reported:
        assert planned(PATIENT, used(published), views="rebuild").drift.views == ("dbt.v",)
    else:
        with pytest.raises(DataError, match=reported):
            planned(PATIENT, used(published), views="rebuild")


def test_changes_that_views_allow_are_made() -> None:
    """A column that it does not name may go, and one that it names may hold more: then it is recreated."""
    deleted = PublishedTable((*COLUMNS, ("Dropped", "text")), ("PatNum",), ("dbt.v",), used={"LName": ("dbt.v",)})
    wider = used(PublishedTable((("PatNum", "integer"), COLUMNS[1]), ("PatNum",)))

    assert planned(PATIENT, deleted).drift.dropped == ("Dropped",)
    assert table_plan.table_plan(PATIENT, TableSettings(), wider, known_coercions=()).drift.views == ("dbt.v",)


VISIT = table("visit", column("N", "bigint(20)", nullable=False), column("Seen", "tinyint(1)"), column("At", "time"),
              column("Changed", "timestamp"), column("Why", "varchar(50)"), key=("N",))  # fmt: skip
PREDECESSORS = PublishedTable(
    (("N", "bigint"), ("Seen", "boolean"), ("At", "time without time zone"), ("Changed", "timestamp without time zone"),
     ("Why", "character varying(50)")), (), ("dbt.v",), used={"Seen": ("dbt.v",), "Why": ("dbt.v",)},
)  # fmt: skip


def test_adoption_keeps_types_that_hold_every_value() -> None:
    """Types that can hold every value are kept; the source is asked of those that might not; a missing key is added."""
    assert table_plan.values_to_check(VISIT, TableSettings(), PREDECESSORS) == {
        "Seen": "{c} NOT IN (0, 1)",
        "At": "{c} < '00:00:00' OR {c} >= '24:00:00'",
    }
    decided = table_plan.table_plan(VISIT, TableSettings(), PREDECESSORS)

    assert decided.adopted == {"Seen": "boolean", "At": "time", "Changed": "timestamp", "Why": "varchar(50)"}
    assert [f.type_postgres for f in decided.fields] == ["bigint", "boolean", "time", "timestamp", "varchar(50)"]
    assert (decided.cutover, decided.drift.adds_key) == (Cutover.MATCH, True)


def test_adoption_refuses_or_changes_types_that_are_too_small() -> None:
    """Refused with number and views where views depend on it; otherwise it becomes ours."""
    with pytest.raises(DataError, match="Seen becomes smallint instead of boolean, which cannot hold 3 values") as no:
        table_plan.table_plan(VISIT, TableSettings(), PREDECESSORS, unrepresentable={"Seen": 3, "At": 0})
    assert "dbt.v" in no.value.message

    alone = replace(PREDECESSORS, dependents=(), used={})
    decided = table_plan.table_plan(VISIT, TableSettings(), alone, unrepresentable={"Seen": 3, "At": 0})
    assert decided.fields[1].type_postgres == "smallint"


def test_own_tables_are_not_adopted() -> None:
    """Once a run has loaded it, another type at the warehouse is the source's change."""
    decided = table_plan.table_plan(
        VISIT, TableSettings(), replace(PREDECESSORS, dependents=(), used={}), known_coercions=()
    )

    assert (decided.adopted, len(decided.drift.retyped)) == ({}, 4)


def test_lossy_types_are_never_adopted() -> None:
    """jsonb spells a text again, and of equal keys keeps the last: that is for a person to ask for."""
    documents = table("doc", column("n", "int(11)"), column("j", "longtext"), key=("n",))
    there = PublishedTable((("n", "integer"), ("j", "jsonb")), ("n",))

    assert table_plan.table_plan(documents, TableSettings(), there).adopted == {}


def test_an_impossible_key_is_dropped_in_place() -> None:
    """With the views on it, and the comments."""
    there = PublishedTable(COLUMNS, ("PatNum",), ("dbt.v",))
    decided = table_plan.warehouse_key_dropped(planned(PATIENT, there))

    assert (decided.cutover, decided.drift.drops_key, decided.key_postgres) == (Cutover.MATCH, True, ())


@pytest.mark.parametrize(("name", "reported"), [("lname", "lname (did you mean LName?)"), ("nope", "not: nope")])
def test_overrides_of_missing_columns_are_refused(name: str, reported: str) -> None:
    """It may have been meant to keep a name at home."""
    with pytest.raises(DataError) as refusal:
        planned(PATIENT, columns={name: {"exclude": True}})

    assert reported in refusal.value.message
    assert "patient" in refusal.value.message


def test_known_coercions_shape_the_plan() -> None:
    """A text with bytes that are no character is reported as hex at once; a key that became NULL is no key."""
    odd, zero = Coercion("LName", "no character", "?", 1), Coercion("d", "zero date", "NULL", 1)
    day = table("day", column("d", "date", nullable=False), key=("d",))
    reported = table_plan.table_plan(PATIENT, TableSettings(), None, known_coercions=(odd,))
    keyless = table_plan.table_plan(day, TableSettings(), None, known_coercions=(zero,))
    as_text = table_plan.table_plan(
        day, TableSettings({"columns": {"d": {"type": "text"}}}), None, known_coercions=(zero,)
    )

    assert [f.rule for f in reported.fields] == ["bigint", "text read as hex"]
    assert (reported.key_postgres, keyless.key_postgres) == (("PatNum",), ())
    assert "without its primary key" in keyless.notes[0]
    assert (as_text.key_postgres, as_text.notes) == (("d",), ())


def test_keyless_tables_are_matched_by_row() -> None:
    """There is no showing its rows apart but by all of them."""
    keyless = table("bak", column("a", "int(11)"))
    decided = planned(keyless, PublishedTable((("a", "integer"),), ()))

    assert (decided.cutover, decided.key_postgres, decided.mode) == (Cutover.MATCH, (), Mode.FULL)


def test_excluded_columns_are_not_loaded() -> None:
    """An excluded key column leaves the table without a key; a table of which nothing is left is refused."""
    columns = {"PatNum": {"exclude": True}}
    decided = planned(PATIENT, columns=columns)

    assert [f.name_postgres for f in decided.fields] == ["LName"]
    assert decided.key_postgres == ()
    with pytest.raises(DataError, match="every column is excluded"):
        planned(PATIENT, columns={"PatNum": {"exclude": True}, "LName": {"exclude": True}})


def test_crashed_tables_are_refused() -> None:
    """A crashed table has no columns in the catalog."""
    with pytest.raises(DataError, match="shows no column"):
        planned(table("crashed"))


def test_overrides_win() -> None:
    """Category, priority and batch size of tables.yml; the defaults where it says nothing."""
    chosen = planned(PATIENT, performance_category="large", processing_priority="high", batch_size=10)
    left = planned(PATIENT)

    assert (chosen.category, chosen.priority, chosen.rows_per_partition) == ("large", 0, 10)
    assert (left.category, left.priority) == ("tiny", 1)


def test_tables_are_ordered_by_priority_and_size() -> None:
    """High priority first; the largest first within."""

    def one(name: str, rows: int, priority: str) -> object:
        return planned(table(name, column("a", "int(11)"), rows=rows), processing_priority=priority)

    plans = [one("small", 10, "low"), one("big", 1000, "low"), one("urgent", 1, "high"), one("other", 10, "low")]

    assert [p.name for p in table_plan.ordered(plans)] == ["urgent", "big", "other", "small"]  # type: ignore[arg-type]


def test_unlisted_and_vanished_tables_are_reported() -> None:
    """Those of the source come along; those of the file are reported."""
    known = {"patient": TableSettings(), "vanished": TableSettings()}

    assert table_plan.unlisted({"patient": PATIENT, "new": PATIENT}, known) == (["new"], ["vanished"])


def test_shortened_names_are_noted() -> None:
    """A table of 64 letters has 63 at the warehouse."""
    decided = planned(table("t" * 64, column("xmax", "int(11)")))

    assert [note.split(" is ")[0] for note in (f"{decided.name[:1]} {n}" for n in decided.notes)] == [
        "t",
        "t column xmax",
    ]
