"""
The shape of a replica's table: by which a run notices that somebody altered it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from arrowetl import drivers
from arrowetl.pipeline import replica_state
from arrowetl.replica import replica_sql
from arrowetl.sandbox import servers

TABLE = (
    "CREATE TABLE t (Id int, `a)` varchar(9) CHARACTER SET latin1, `KEY` int NOT NULL DEFAULT 1, "
    "D decimal(9,2) COMMENT 'x\\n) y', `e\n) e` int, T varchar(9), Z varchar(9) DEFAULT '`', "
    "PRIMARY KEY (Id), KEY k (D)) CHARACTER SET utf8mb3 COMMENT 'it''s CHARSET=none'"
)


@pytest.fixture
def replica(sandbox: servers.Sandbox) -> Iterator[drivers.MySQL]:
    session = drivers.MySQL(sandbox.admin("replica"))
    session.execute("DROP TABLE IF EXISTS t, other")
    session.execute(TABLE)
    yield session
    session.execute("DROP TABLE IF EXISTS t, other")
    session.close()


def _shapes(replica: drivers.MySQL) -> dict[str, str]:
    with closing(drivers.Pool(replica.endpoint, lambda: drivers.MySQL(replica.endpoint), 1)) as pool:
        return replica_state._shapes(pool)


@pytest.mark.parametrize(
    ("statement", "is_another"),
    [
        ("ALTER TABLE t MODIFY D decimal(9,3)", True),
        ("ALTER TABLE t MODIFY `a)` varchar(9) CHARACTER SET utf8mb4", True),
        ("ALTER TABLE t MODIFY `a)` varchar(9) CHARACTER SET latin1 COLLATE latin1_bin", True),
        ("ALTER TABLE t MODIFY `a)` varchar(9) CHARACTER SET latin1 NOT NULL", True),
        ("ALTER TABLE t ADD COLUMN y int", True),
        ("ALTER TABLE t ADD COLUMN y int AS (Id + 1) VIRTUAL", True),
        ("ALTER TABLE t DROP COLUMN `KEY`", True),
        ("ALTER TABLE t MODIFY D decimal(9,2) FIRST", True),
        ("ALTER TABLE t CHANGE `KEY` `INDEX` int NOT NULL DEFAULT 1", True),
        ("ALTER TABLE t DROP PRIMARY KEY", True),
        ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (`KEY`)", True),
        ("ALTER TABLE t CONVERT TO CHARACTER SET latin1", True),
        ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", True),
        ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb3 COLLATE utf8mb3_bin", True),
        ("ALTER TABLE t DROP COLUMN `e\n) e`", True),
        ("ALTER TABLE t MODIFY Z varchar(8)", True),
        ("CREATE TRIGGER u BEFORE UPDATE ON t FOR EACH ROW SET NEW.D = 1", True),
        ("ALTER TABLE t ADD INDEX l (`KEY`)", False),
        ("ALTER TABLE t ADD UNIQUE KEY l (`KEY`, Id)", False),
        ("ALTER TABLE t ADD FULLTEXT INDEX l (`a)`)", False),
        ("ALTER TABLE t DROP INDEX k", False),
        ("ALTER TABLE t COMMENT 'of an analyst', AUTO_INCREMENT = 17", False),
        ("ALTER TABLE t MODIFY D decimal(9,2) COMMENT 'of an\n) CHARSET=analyst'", False),
        ("ALTER TABLE t COMMENT 'CHARSET=latin1'", False),
        ("ALTER TABLE t ROW_FORMAT=COMPRESSED", False),
        ("INSERT INTO t (Id) VALUES (1)", False),
        ("CREATE TABLE other (A int)", False),
    ],
)
def test_a_shape_is_another_once_a_column_the_key_or_a_trigger_is(
    replica: drivers.MySQL, statement: str, is_another: bool
) -> None:
    """An index that somebody adds bends no row."""
    before = _shapes(replica)["t"]

    replica.execute(statement)

    assert (_shapes(replica)["t"] != before) is is_another


def test_what_takes_a_tables_place_has_another_shape(replica: drivers.MySQL) -> None:
    """A view of the same columns has, and what cannot be shown is of no known one."""
    before = _shapes(replica)["t"]
    replica.execute("RENAME TABLE t TO other")
    replica.execute("CREATE VIEW t AS SELECT * FROM other")
    through_a_view = _shapes(replica)["t"]
    replica.execute("DROP VIEW t")

    assert _shapes(replica)["other"] == before
    assert through_a_view != before


def test_a_table_that_cannot_be_shown_has_no_shape_that_a_run_gave_it(
    replica: drivers.MySQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for what is recorded; the others are as they were."""
    replica.execute("CREATE TABLE other (A int)")
    shown, before = replica_sql.definition, _shapes(replica)
    monkeypatch.setattr(replica_sql, "definition", lambda there, name: shown(there, {"other": "no"}.get(name, name)))

    assert _shapes(replica) == {**before, "other": "unknown"}
