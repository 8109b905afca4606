"""
A server as people have it: variables of either name, URLs, password files, other programs' files; what is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrowetl.config import connections, env
from arrowetl.config.connections import Said
from arrowetl.errors import EnvironmentError
from arrowetl.model.connection import Endpoint

SECRET = "p@ss:w/rd#1?&%"
MYSQL = {"HOST": "10.0.0.5", "DB": "opendental", "USER": "reader", "PASSWORD": SECRET}


def named(prefix: str, **parts: str) -> dict[str, str]:
    return {f"{prefix}_{part}": value for part, value in parts.items()}


def found(server: str, values: dict[str, str], **more: Any) -> Endpoint:
    endpoint, problems = connections.endpoint(server, values, **more)
    assert problems == []
    assert endpoint is not None
    return endpoint


def problems(server: str, values: dict[str, str], **more: Any) -> list[str]:
    endpoint, wrong = connections.endpoint(server, values, **more)
    assert endpoint is None
    assert not any(SECRET in one for one in wrong)
    return wrong


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with nothing in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


URL = f"mysql://reader:{quote(SECRET, safe='')}@10.0.0.5/opendental"


@pytest.mark.parametrize(
    "values",
    [
        named("OPENDENTAL_SOURCE", **MYSQL),
        named("ARROWETL_SOURCE", **MYSQL),
        {"ARROWETL_SOURCE_URL": URL},
        {"OPENDENTAL_SOURCE_URL": URL.replace("mysql:", "mariadb:")},
        {"ARROWETL_SOURCE_URL": "mysql://reader@10.0.0.5/opendental", "ARROWETL_SOURCE_PASSWORD": SECRET},
        {**named("OPENDENTAL_SOURCE", **MYSQL), "ARROWETL_SOURCE_HOST": "10.0.0.5"},
    ],
)
def test_a_server_is_the_same_however_it_is_said(values: dict[str, str]) -> None:
    """By the seed's names, by ours, by a URL, by some of each; the port has a default."""
    one = found("source", values)

    assert (one.host, one.port, one.database, one.user, one.password) == (
        "10.0.0.5",
        3306,
        "opendental",
        "reader",
        SECRET,
    )


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20).filter(str.strip))
def test_a_url_may_hold_any_password(password: str) -> None:
    """Quoted, as in every URL."""
    url = f"postgresql://etl:{quote(password, safe='')}@db/warehouse?schema=raw2"

    assert found("warehouse", {"ARROWETL_WAREHOUSE_URL": url}).password == password


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("?ssl_mode=verify_ca", {"ssl_mode": "verify_ca"}),
        ("?sslmode=verify-full", {"ssl_mode": "verify_identity"}),
        ("?sslmode=require&schema=staging", {"ssl_mode": "required", "namespace": "staging"}),
        ("", {"ssl_mode": "preferred", "namespace": "raw", "port": 5432}),
    ],
)
def test_a_urls_options_are_parts(query: str, wanted: dict[str, Any]) -> None:
    one = found("warehouse", {"ARROWETL_WAREHOUSE_URL": f"postgresql://etl:x@db/wh{query}"})

    assert {name: getattr(one, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("values", "reported"),
    [
        ({**named("OPENDENTAL_SOURCE", **MYSQL), "ARROWETL_SOURCE_HOST": "other"},
         "OPENDENTAL_SOURCE_HOST and ARROWETL_SOURCE_HOST: they differ in the host; leave out one"),
        ({"ARROWETL_SOURCE_URL": URL, "ARROWETL_SOURCE_PASSWORD": "another"},
         "ARROWETL_SOURCE_PASSWORD and ARROWETL_SOURCE_URL: they differ in the password; leave out one"),
        ({"ARROWETL_SOURCE_URL": f"postgres://u:{quote(SECRET, safe='')}@h/d"}, "ARROWETL_SOURCE_URL: must begin with mysql://"),
        ({"ARROWETL_SOURCE_URL": f"mysql://u:{SECRET}@h/d"}, "ARROWETL_SOURCE_URL: is not a URL; write mysql://user@host:port/database"),
        ({"ARROWETL_SOURCE_URL": URL + "?ssl_mod=required"}, "unknown option ssl_mod after ? (did you mean ssl_mode?)"),
        ({"ARROWETL_SOURCE_URL": URL + "?schema=raw"}, "unknown option schema after ?"),
        ({"ARROWETL_SOURCE_URL": "mysql://h"}, "ARROWETL_SOURCE_DB is missing"),
        (named("ARROWETL_SOURCE", **MYSQL, PORT="33O6"), "ARROWETL_SOURCE_PORT: must be a number"),
        (named("ARROWETL_SOURCE", **MYSQL, SSL_CERT=__file__), "cannot show a client certificate"),
        (named("OPENDENTAL_SOURCE", **{**MYSQL, "HOST": "mysql://h/d"}), "a URL goes into OPENDENTAL_SOURCE_URL"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_the_variables_name(values: dict[str, str], reported: str) -> None:
    """And never with a value that may be a password."""
    assert any(reported in one for one in problems("source", values))


def test_a_problem_names_the_variable_that_was_used() -> None:
    """Of a URL that has no database, not the parts of another name; in `test` with its prefix."""
    assert problems("replica", {"ARROWETL_REPLICA_HOST": "h"}, is_test=True) == [
        "TEST_ARROWETL_REPLICA_DB is missing",
        "TEST_ARROWETL_REPLICA_USER is missing",
        "TEST_ARROWETL_REPLICA_PASSWORD is missing",
    ]
    assert found("source", {"ARROWETL_SOURCE_URL": URL}).settings == "ARROWETL_SOURCE"


def test_arrowetl_yml_has_no_password() -> None:
    said = Said(URL, "conf/arrowetl.yml: connections.source")

    assert problems("source", {}, url=said) == [
        "conf/arrowetl.yml: connections.source: has a password, for which OPENDENTAL_SOURCE_PASSWORD is the place"
    ]


@pytest.mark.parametrize(("text", "password"), [("secret", "secret"), ("se cret\n", "se cret"), ("x\r\n", "x")])
def test_a_password_file_is_read_without_its_line_end(text: str, password: str, tmp_path: Path) -> None:
    """As containers have it."""
    (tmp_path / "secret").write_text(text, newline="")
    parts = {**MYSQL, "PASSWORD_FILE": str(tmp_path / "secret")}
    del parts["PASSWORD"]

    assert found("source", named("ARROWETL_SOURCE", **parts)).password == password


def test_a_password_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    parts = {**MYSQL, "PASSWORD_FILE": str(tmp_path / "none")}
    del parts["PASSWORD"]

    assert problems("source", named("ARROWETL_SOURCE", **parts))[0].startswith("ARROWETL_SOURCE_PASSWORD_FILE: ")


@pytest.mark.parametrize(
    ("my_cnf", "host", "user"),
    [
        ("[client]\nuser=reader\npassword='of all'\n", "10.0.0.5", "reader"),
        ("[client_source]\nuser = own\npassword=x\n[client]\nuser=reader\npassword=y\n", "10.0.0.5", "own"),
        ("[client]\nhost=10.0.0.5\nuser=reader\npassword=x\n", "10.0.0.5", "reader"),
        ("[client]\nhost=localhost\nuser=root\npassword=x\n[client_source]\nuser=own\npassword=z\n", "10.0.0.5", "own"),
        ("[mysqld]\nuser=mysql\n[client]\nuser=reader\npassword=x\nquick\n!includedir /etc\n", "h", "reader"),
    ],
)
def test_my_cnf_says_what_is_missing(my_cnf: str, host: str, user: str, home: Path) -> None:
    """Its own group before [client]; and [client] only where it is not about another host."""
    (home / ".my.cnf").write_text(my_cnf)

    assert found("source", {"ARROWETL_SOURCE_HOST": host, "ARROWETL_SOURCE_DB": "opendental"}).user == user


def test_my_cnf_of_another_host_is_not_sent_to_this_one(home: Path) -> None:
    """The password of a server is nobody else's."""
    (home / ".my.cnf").write_text(f"[client]\nhost=localhost\nuser=root\npassword={SECRET}\n")

    assert problems(
        "source", {"ARROWETL_SOURCE_HOST": "10.0.0.5", "ARROWETL_SOURCE_DB": "d", "ARROWETL_SOURCE_USER": "u"}
    ) == ["ARROWETL_SOURCE_PASSWORD is missing"]


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("abc", "abc"), ('"abc"', "abc"), ("'a b'", "a b"), ('abc"', 'abc"'), ("abc # of today", "abc"),
        ('"a # b"', "a # b"), (r"abc\sdef", "abc def"), (r"a\\b", r"a\b"),
    ],
)  # fmt: skip
def test_my_cnf_is_read_by_mysqls_rules(written: str, password: str, home: Path) -> None:
    """Quotes, comments and escapes, as MySQL's own programs have them."""
    (home / ".my.cnf").write_text(f"[client]\nuser=reader\npassword={written}\n")

    assert found("source", {"ARROWETL_SOURCE_HOST": "h", "ARROWETL_SOURCE_DB": "d"}).password == password


def test_an_account_without_a_password_has_an_empty_file(home: Path) -> None:
    """A blank variable is an unset one: an account that has no password says so by a file."""
    (home / "nothing").write_text("")
    values = {**WAREHOUSE, "ARROWETL_WAREHOUSE_PASSWORD_FILE": str(home / "nothing")}

    assert found("warehouse", values).password == ""


def test_what_is_missing_of_an_unreadable_url_is_not_guessed() -> None:
    assert problems("source", {"ARROWETL_SOURCE_URL": "postgres://reader@h/d"}) == [
        "ARROWETL_SOURCE_URL: must begin with mysql://"
    ]


PGPASS = "# mine\ndb:5432:wh:etl:right\\:one\n*:*:*:other:wrong\n"
WAREHOUSE = named("ARROWETL_WAREHOUSE", HOST="db", DB="wh", USER="etl")


@pytest.mark.parametrize(("mode", "password"), [(0o600, "right:one"), (0o644, None)])
def test_pgpass_is_read_by_libpqs_rules(mode: int, password: str | None, home: Path) -> None:
    """With its escapes; one that others can read is not looked at."""
    place = home / ".pgpass"
    place.write_text(PGPASS)
    place.chmod(mode)

    if password:
        assert found("warehouse", WAREHOUSE).password == password
    else:
        assert problems("warehouse", WAREHOUSE) == ["ARROWETL_WAREHOUSE_PASSWORD is missing"]


def test_a_service_says_where_the_warehouse_is(home: Path) -> None:
    (home / ".pg_service.conf").write_text(
        "[analytics]\nhost=db\nport=6432\ndbname=wh\nuser=etl\npassword=x\nsslmode=verify-full\n"
    )
    one = found("warehouse", {"ARROWETL_WAREHOUSE_SERVICE": "analytics"})

    assert (one.host, one.port, one.database, one.user, one.ssl_mode) == ("db", 6432, "wh", "etl", "verify_identity")
    assert "no service of that name" in problems("warehouse", {"ARROWETL_WAREHOUSE_SERVICE": "others"})[0]


def test_no_file_of_another_program_is_asked_in_test(home: Path) -> None:
    """It may lead to a production server."""
    (home / ".my.cnf").write_text("[client]\nuser=root\npassword=x\n")

    assert len(problems("source", {"ARROWETL_SOURCE_HOST": "h", "ARROWETL_SOURCE_DB": "d"}, is_test=True)) == 2


def test_an_exported_production_server_is_not_reached_in_test(tmp_path: Path) -> None:
    """By whichever name: in `test` only what says TEST_ counts."""
    with pytest.raises(EnvironmentError, match="OPENDENTAL_SOURCE_HOST is missing"):
        env.settings_from_environment(
            {"ETL_ENVIRONMENT": "test", "ARROWETL_SOURCE_URL": URL}, tmp_path / "tables.yml", needs=("source",)
        )
    ours = {"ETL_ENVIRONMENT": "test", "TEST_ARROWETL_SOURCE_URL": URL}

    assert (
        env.settings_from_environment(ours, tmp_path / "tables.yml", needs=("source",)).endpoint("source").port == 3306
    )


def test_a_unix_socket_needs_neither_host_nor_password() -> None:
    one = found("replica", named("ARROWETL_REPLICA", SOCKET="/run/mysqld/mysqld.sock", DB="replica", USER="etl"))

    assert str(one) == "replica /run/mysqld/mysqld.sock/replica"
    assert found(
        "warehouse", {**WAREHOUSE, "ARROWETL_WAREHOUSE_HOST": "/run/postgresql", "ARROWETL_WAREHOUSE_PASSWORD": "x"}
    )


@pytest.mark.parametrize("environment", ["staging", "dev", "clinic-7", "prod.eu"])
def test_any_environment_has_its_file(environment: str, tmp_path: Path) -> None:
    (tmp_path / f".env_{environment}").write_text(f"ARROWETL_SOURCE_URL={URL}\n")
    chosen = env.settings_from_environment({"ETL_ENVIRONMENT": environment}, tmp_path / "tables.yml", needs=("source",))

    assert (chosen.environment, chosen.endpoint("source").user) == (environment, "reader")


@pytest.mark.parametrize("environment", ["../x", "a b", "", "-x"])
def test_an_environment_that_is_no_name_is_refused(environment: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError, match="ETL_ENVIRONMENT is"):
        env.settings_from_environment({"ETL_ENVIRONMENT": environment}, tmp_path / "tables.yml")
