"""
The door: every driver's exception becomes one of ours, and loads neither password nor value.
"""

from __future__ import annotations

from typing import Any

import adbc_driver_manager.dbapi
import mysql.connector
import psycopg
import pytest

from arrowetl import drivers
from arrowetl.drivers import messages
from arrowetl.errors import ArrowetlError, DatabaseConnectionError, DatabaseQueryError, DataExtractionError
from arrowetl.model.connection import Endpoint
from arrowetl.model.dialect import Flavour
from arrowetl.sandbox import servers

ENDPOINT = Endpoint("replica", "h", 1, "d", "u", "s3cret'pass")


@pytest.mark.parametrize(
    ("said", "reported"),
    [
        ("Access denied using s3cret'pass", "Access denied using ***"),
        ("Incorrect date value: 'Jane Doe' for column `d`.`t`.`c` at row 1",
         "Incorrect date value: '…' for column `d`.`t`.`c` at row 1"),
        ("Duplicate entry 'Jane''s' for key 'PRIMARY'", "Duplicate entry '…' for key 'PRIMARY'"),
        ('invalid input syntax for type integer: "Jane"', 'invalid input syntax for type integer: "…"'),
        ("Duplicate entry 'O'Brien-7' for key 'PRIMARY'", "Duplicate entry '…' for key 'PRIMARY'"),
        ("Duplicate entry 'a' for key 'b' for key 'PRIMARY'", "Duplicate entry '…' for key 'PRIMARY'"),
        ("Incorrect date value: 'Jane\\' for column `d`.`t`.`c` at row 1",
         "Incorrect date value: '…' for column `d`.`t`.`c` at row 1"),
        ("Incorrect integer value: 'O'Brien' for column 'c' at row 1",
         "Incorrect integer value: '…' for column 'c' at row 1"),
        ("Invalid utf8mb4 character string: 'Casa N'", "Invalid utf8mb4 character string: '…'"),
        ("Truncated incorrect DOUBLE value: 'Jane", "Truncated incorrect DOUBLE value: '…'"),
        ("Data truncated for column 'c' at row 1", "Data truncated for column 'c' at row 1"),
        ("two\n lines", "two lines"),
        ("x" * 1000, "x" * 400),
    ],
)  # fmt: skip
def test_server_messages_are_cut_and_freed_of_secrets_and_values(said: str, reported: str) -> None:
    """On one line, shortened, without the password and without values of rows."""
    assert messages.clean(said, ENDPOINT) == reported


@pytest.mark.parametrize(
    ("module", "connect"),
    [
        (mysql.connector, lambda sandbox: drivers.MySQL(sandbox.admin("source"))),
        (psycopg, lambda sandbox: drivers.Postgres(sandbox.warehouse)),
        (adbc_driver_manager.dbapi, lambda sandbox: drivers.PostgresArrow(sandbox.warehouse)),
    ],
)
def test_every_driver_exception_becomes_an_arrowetl_error(sandbox: servers.Sandbox, module: Any, connect: Any) -> None:
    """Whatever class the driver raises, ArrowetlError comes out, with the driver's as its cause."""
    session = connect(sandbox)
    classes = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, module.Error)]
    for one in classes:
        # One of ADBC's knows its own status.
        knows = module is not adbc_driver_manager.dbapi or one is module.NotSupportedError
        error = one("broken", **({} if knows else {"status_code": 1}))
        with pytest.raises(ArrowetlError) as ours, session._translated("query"):
            raise error
        assert ours.value.__cause__ is error
    session.close()

    assert len(classes) > 5


def test_refused_statements_have_the_servers_code(sandbox: servers.Sandbox) -> None:
    """MySQL's number, PostgreSQL's SQLSTATE."""
    left, right = drivers.MySQL(sandbox.source), drivers.Postgres(sandbox.warehouse)
    with pytest.raises(DatabaseQueryError) as mysql_error:
        left.rows("SELECT * FROM nowhere")
    with pytest.raises(DatabaseQueryError) as postgres_error:
        right.rows("SELECT * FROM nowhere")
    left.close()
    right.close()

    assert (mysql_error.value.code, postgres_error.value.code) == (1146, "42P01")


def test_many_questions_are_answered_at_once_and_a_refused_one_alone_is_not(sandbox: servers.Sandbox) -> None:
    """What follows it is answered; of none nothing is."""
    session = drivers.MySQL(sandbox.source)
    found = session.answers(["SELECT 1, 'a'", "SELECT 2 UNION SELECT 3", "SELECT * FROM nowhere", "DO 1", "SELECT 4"])
    refused_last, after = session.answers(["SELECT 5", "SELECT"]), session.rows("SELECT 6")
    session.close()

    assert found == [[(1, "a")], [(2,), (3,)], None, [], [(4,)]]
    assert (refused_last, after) == ([[(5,)], None], [(6,)])


def test_many_questions_that_wait_are_not_refused(sandbox: servers.Sandbox) -> None:
    """Somebody who holds a table makes nothing known of it."""
    holder, session = drivers.MySQL(sandbox.admin("source")), drivers.MySQL(sandbox.admin("source"))
    holder.execute("CREATE TABLE held (A int)")
    holder.execute("LOCK TABLES held WRITE")
    with session.impatient(), pytest.raises(DatabaseQueryError) as waited:
        session.answers(["SELECT 1", "SELECT COUNT(*) FROM held"])
    holder.execute("UNLOCK TABLES")
    holder.execute("DROP TABLE held")
    session.close()
    holder.close()

    assert waited.value.code == 1205


def test_sessions_know_their_flavour_and_use_utc(sandbox: servers.Sandbox) -> None:
    """MariaDB is not taken for MySQL; no time zone of the server's is in the way; ids of 0 stay."""
    session = drivers.MySQL(sandbox.source)
    zone, mode = session.rows("SELECT @@session.time_zone, @@session.sql_mode")[0]
    flavour = session.flavour
    session.close()

    assert flavour is Flavour.MARIADB
    assert zone == "+00:00"
    assert "NO_AUTO_VALUE_ON_ZERO" in mode


def test_source_sessions_cannot_write(sandbox: servers.Sandbox) -> None:
    """By the server's own promise, whatever the account may."""
    session = drivers.MySQL(sandbox.admin("source"), read_only=True)
    with pytest.raises(DatabaseQueryError, match=r"READ ONLY transaction"):
        session.execute("INSERT INTO nowhere VALUES (1)")
    session.close()


@pytest.mark.parametrize("expression", ["CAST('0000-00-00' AS DATE)", "CAST('-01:00:00' AS TIME)"])
def test_a_driver_panic_is_an_error_without_the_value(
    sandbox: servers.Sandbox, expression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A panic of the driver's is an exception of ours, and its text, which has the value, is in none of it."""
    with pytest.raises(DataExtractionError, match="a value that the driver cannot hold") as refusal:
        drivers.read_arrow(sandbox.source, f"SELECT {expression} AS c", tls=False)

    assert refusal.value.__cause__ is None
    assert "01:00" not in str(refusal.value)
    assert "0000" not in str(refusal.value)
    capfd.readouterr()


def test_connectorx_reads_from_the_configured_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loopback server's socket path may be another server's here; every character of a password is quoted."""
    asked: list[str] = []
    monkeypatch.setattr("connectorx.read_sql", lambda url, *_, **__: asked.append(url))
    drivers.read_arrow(Endpoint("source", "127.0.0.1", 3307, "d", "u", "p@ss:w/rd#1?&%"), "SELECT 1", tls=False)

    assert "p%40ss%3Aw%2Frd%231%3F%26%25@127.0.0.1:3307/d?prefer_socket=false&" in asked[0]


def pool_of_living() -> tuple[drivers.Pool[Any], list[int]]:
    """A pool of sessions that are alive until they are closed, and those that were."""
    closed: list[int] = []

    class Session:
        def alive(self) -> bool:
            return True

        def close(self) -> None:
            closed.append(id(self))

    return drivers.Pool(ENDPOINT, Session), closed


def test_a_pool_reuses_counts_and_closes_sessions() -> None:
    """Sessions are used again; one that was in use when something failed is not; all are counted."""
    pool, closed = pool_of_living()
    with pool.session() as first, pool.session():
        pass
    with pool.session() as again:
        pass
    with pytest.raises(DatabaseConnectionError), pool.session():
        raise DatabaseConnectionError("lost")
    count = pool.count
    pool.close()

    assert again is not None
    assert first is not None
    assert (count.opened, count.peak, len(closed)) == (2, 2, 2)


def test_a_dead_session_ends_the_idle_ones_with_it() -> None:
    """What ended it, a server's own limit say, has ended those too: the next try meets none of them."""
    pool, closed = pool_of_living()
    with pool.session() as first, pool.session() as second, pool.session() as third:
        pass
    with pytest.raises(DatabaseConnectionError), pool.session():
        raise DatabaseConnectionError("the connection was lost")
    dead = set(closed)
    with pool.session() as fresh:
        pass
    pool.close()

    assert dead == {id(first), id(second), id(third)}
    assert id(fresh) not in dead


@pytest.mark.parametrize("endpoint", [ENDPOINT, Endpoint("warehouse", "h", 5432, "d", "u", "it's \\ secret")])
def test_the_warehouse_is_sent_no_options_when_it_is_connected_to(endpoint: Endpoint) -> None:
    """PgBouncer refuses them; what a session needs is set in it."""
    sent = psycopg.conninfo.conninfo_to_dict(drivers.postgres.conninfo(endpoint))

    assert "options" not in sent
    assert sent["password"] == endpoint.password


def test_a_failed_transaction_leaves_nothing(sandbox: servers.Sandbox) -> None:
    """At the warehouse: all statements of a transaction, or none; whoever raised, and whatever."""
    session = drivers.Postgres(sandbox.warehouse)
    session.execute("CREATE TEMP TABLE t (n int)")
    with pytest.raises(ValueError, match="ours"), session.transaction():
        session.execute("INSERT INTO t VALUES (1)")
        assert session.rows("SELECT count(*) FROM t") == [(1,)]
        raise ValueError("ours")
    assert session.rows("SELECT count(*) FROM t") == [(0,)]
    with session.transaction():
        session.execute("INSERT INTO t VALUES (2)")
    assert session.rows("SELECT n FROM t") == [(2,)]
    session.close()


@pytest.mark.parametrize("password", ["a", "ab", "abc"])
def test_short_passwords_are_not_masked_in_messages(password: str) -> None:
    """The stars would show it: `does not e***ist`."""
    endpoint = Endpoint("source", "clinic", 3306, "opendental", "reader", password)

    assert messages.clean("a table called abc does not exist", endpoint) == "a table called abc does not exist"


def test_long_passwords_are_masked_in_messages() -> None:
    endpoint = Endpoint("source", "clinic", 3306, "opendental", "reader", "correct horse")

    assert messages.clean("Access denied: correct horse", endpoint) == "Access denied: ***"
