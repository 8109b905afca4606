"""
What our sessions say of themselves, and that they are it: whatever a server, a role or a pooler has for everybody.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from support.clinic import Clinic

from arrowetl import drivers, preflight
from arrowetl.drivers import connectorx, sessions
from arrowetl.drivers.sessions import Setting
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.connection import Endpoint

SOURCE = Endpoint("source", "clinic", 3306, "opendental", "reader", "secret")


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("600", "600", True),
        ("600.000000", "600.0", True),
        ("on", "1", True),
        ("off", "on", False),
        ("600", "599", False),
        ("'utf8mb4'", "utf8mb4", True),
        ("'utf8mb4'", "latin1", False),
    ],
)
def test_equivalent_setting_values_are_equal(wanted: str, found: str, same: bool) -> None:
    assert sessions.is_so(Setting("x", wanted, ""), found) is same


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [("A,B", "B,A", True), ("A,B", "A,B,C", False), ("A,B", "A", False), ("", "", True), ("", "A", False)],
)
def test_sql_modes_are_equal_in_any_order(wanted: str, found: str, same: bool) -> None:
    assert sessions.is_so(Setting("sql_mode", f"'{wanted}'", ""), found) is same


def test_a_session_that_differs_from_its_settings_is_refused() -> None:
    """Is none; what a server does not know, or cannot have, is no reason."""
    settings = [Setting("a", "1", "why"), Setting("b", "2", "why", required=False), Setting("c", "3", "why")]
    sessions.require(SOURCE, settings, {"a": "1", "b": "7"})
    with pytest.raises(DatabaseConnectionError, match="a is '2', and was set to '1'") as refused:
        sessions.require(SOURCE, settings, {"a": "2"})
    assert "pooler" in (refused.value.remedy or "")
    assert not refused.value.transient


def test_settings_that_the_server_would_choose_are_reported() -> None:
    settings = [Setting("a", "1", "why"), Setting("b", "2", "why")]
    assert sessions.differing_settings(settings, {"a": "9", "b": "2"}) == [("a", "9", "1", "why")]


def test_every_setting_has_a_reason() -> None:
    for settings in (sessions.mysql("", 600, True), sessions.mysql("", 0, False), sessions.postgres()):
        assert [one.name for one in settings if not one.why] == []
        assert len({one.name for one in settings}) == len(settings)


def test_init_connect_cannot_change_sessions(clinic: Clinic) -> None:
    """Each of its settings holds for nobody of ours: those of mysql.connector, and connectorx's."""
    clinic.create(
        'SET GLOBAL init_connect = \'SET NAMES latin1, time_zone = "+05:00", sql_select_limit = 1, autocommit = 0, '
        'max_statement_time = 0.5, sql_mode = "ANSI_QUOTES"\''
    )
    clinic.undo.append(lambda: clinic.create("SET GLOBAL init_connect = ''"))
    source = clinic.sandbox.source
    session = drivers.MySQL(source, read_only=True, statement_seconds=7, compares=True)
    found = session.rows(
        "SELECT @@character_set_client, @@time_zone, @@sql_select_limit, @@autocommit, @@max_statement_time, "
        "@@tx_read_only"
    )
    other = {name: (there, ours) for name, there, ours, _ in session.differing_settings}
    session.close()
    question = "SELECT @@time_zone AS z, @@max_statement_time AS m, _utf8mb4 X'C396' AS t"
    read = drivers.read_arrow(source, question, False, 7)

    assert found == [("utf8mb4", "+00:00", 2**64 - 1, 1, 7.0, 1)]
    assert other["time_zone"] == ("+05:00", "+00:00")
    assert other["sql_select_limit"] == ("1", str(2**64 - 1))
    assert read.to_pylist() == [{"z": "+00:00", "m": 7.0, "t": "Ö"}]


def test_a_connectorx_session_that_differs_reads_no_row(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of connectorx's that is not as it was set reads no row."""
    said = sessions.said_to_mysql
    monkeypatch.setattr(
        sessions,
        "said_to_mysql",
        lambda settings, writes: (*said(settings, writes), "SET SESSION time_zone = '+01:00'"),
    )
    # It is made once, and kept.
    monkeypatch.setattr(connectorx, "_session", connectorx._session.__wrapped__)
    with pytest.raises(DatabaseConnectionError, match="the session is not as it was asked to be"):
        drivers.read_arrow(clinic.sandbox.source, "SELECT 1 AS one", False)


def test_a_warehouse_in_another_encoding_is_refused(clinic: Clinic) -> None:
    """Is refused at once, by whatever is asked of it, with the remedy."""
    admin = drivers.Postgres(replace(clinic.sandbox.admin("warehouse"), database="postgres"))
    for encoding in ("LATIN1", "SQL_ASCII"):
        admin.execute("DROP DATABASE IF EXISTS narrow")
        admin.execute(
            f"CREATE DATABASE narrow TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' "
            f'OWNER "{clinic.sandbox.warehouse.user}"'
        )
        there = replace(clinic.sandbox.warehouse, database="narrow")
        for kind in (drivers.Postgres, drivers.PostgresArrow):
            with pytest.raises(DatabaseConnectionError, match=encoding) as refused:
                kind(there)
            assert "ENCODING 'UTF8'" in (refused.value.remedy or "")
        done = clinic.arrowetl("run", "--all", TEST_POSTGRES_ANALYTICS_DB="narrow")
        assert (done.returncode, "ENCODING 'UTF8'" in done.stderr) == (4, True)
        assert preflight.examine(there).error is not None
    admin.execute("DROP DATABASE narrow")
    admin.close()


@pytest.mark.parametrize(
    "setting",
    [
        "standard_conforming_strings = off",
        "quote_all_identifiers = on",
        "datestyle = 'SQL, DMY'",
        "bytea_output = escape",
        "search_path = nowhere",
        "default_transaction_read_only = on",
        "timezone = 'Asia/Tokyo'",
        "client_encoding = LATIN1",
        "statement_timeout = 100",
        "extra_float_digits = -5",
        "intervalstyle = iso_8601",
        "row_security = off",
    ],
)
def test_role_defaults_cannot_change_sessions(clinic: Clinic, setting: str) -> None:
    """One setting at a time: ours hold, and Arrow's types are what they are, in both kinds of session."""
    role, admin = clinic.sandbox.warehouse.user, drivers.Postgres(clinic.sandbox.admin("warehouse"))
    name = setting.partition(" ")[0]
    admin.execute(f'ALTER ROLE "{role}" SET {setting}')
    clinic.undo += [partial(admin.execute, f'ALTER ROLE "{role}" RESET {name}'), admin.close]
    ours = {one.name.lower(): one for one in sessions.postgres()}[name]
    for kind in (drivers.Postgres, drivers.PostgresArrow):
        session = kind(clinic.sandbox.warehouse)
        assert sessions.is_so(ours, session.rows(f"SELECT pg_catalog.current_setting('{name}')")[0][0])
        session.execute("CREATE TEMPORARY TABLE written AS SELECT 'é\\'::text AS t, 1.5::numeric(5,2) AS n")
        assert session.rows("SELECT t, n::text FROM pg_temp.written") == [("é\\", "1.50")]
        session.close()


def test_a_transaction_pooler_is_refused(clinic: Clinic) -> None:
    """A pooler that lends sessions by the transaction is known by the server's own process, before anything is done."""
    first, second = drivers.Postgres(clinic.sandbox.warehouse), drivers.Postgres(clinic.sandbox.warehouse)
    drivers.require_one_each(first, second)
    with pytest.raises(DatabaseConnectionError, match="by the transaction") as refused:
        drivers.require_one_each(second, second)
    first.close()
    second.close()
    assert "session mode" in (refused.value.remedy or "")
