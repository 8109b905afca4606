"""
TLS to all three servers, against real certificates: each mode lets through what it promises to, and nothing else.

The wheel's PostgreSQL has no TLS: these tests use the system's, which `nox` installs where it is missing.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from arrowetl import drivers
from arrowetl.errors import ArrowetlError, DatabaseConnectionError
from arrowetl.model.connection import Endpoint
from arrowetl.sandbox import launch, servers

HOST = "localhost"
MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
CERTIFICATES = ("right", "wrong host", "expired", "unknown authority")
# Mode → certificates it refuses.
REFUSED = {
    "disabled": (),
    "preferred": (),
    "required": (),
    "verify_ca": ("expired", "unknown authority"),
    "verify_identity": ("wrong host", "expired", "unknown authority"),
}


@dataclass
class Secured:
    """Servers that speak TLS, and whose certificate can be another one."""

    sandbox: servers.Sandbox
    authority: Path
    present: Callable[[str], None]

    def endpoint(self, name: str, mode: str) -> Endpoint:
        plain: Endpoint = getattr(self.sandbox, name)
        return replace(plain, host=HOST, ssl_mode=mode, ssl_ca=str(self.authority))


def system_postgres() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "these tests need the system's PostgreSQL, which has TLS: install the package postgresql"
    return found[-1]


# What all of them are on is made once.
pytestmark = pytest.mark.xdist_group("tls")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    place = tmp_path_factory.mktemp("tls")
    place.chmod(0o755)
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(place / "authority.pem")
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificates = {
        "right": authority.issue_cert(HOST),
        "wrong host": authority.issue_cert("elsewhere.example.org"),
        "expired": authority.issue_cert(HOST, not_before=yesterday - datetime.timedelta(days=9), not_after=yesterday),
        "unknown authority": stranger.issue_cert(HOST),
    }
    chain, key = place / "server.pem", place / "server.key"

    def write(which: str) -> None:
        certificates[which].cert_chain_pems[0].write_to_path(chain)
        certificates[which].private_key_pem.write_to_path(key)

    write("right")
    options = (f"--ssl-cert={chain}", f"--ssl-key={key}")
    with servers.sandbox("tls", postgres=system_postgres(), mariadb_options=options) as sandbox:
        data = sandbox.directory / "warehouse" / "data"
        admin = replace(sandbox.warehouse, user=launch.ADMIN, database="postgres", namespace="")

        def present(which: str) -> None:
            write(which)
            for name in ("source", "replica"):
                session = drivers.MySQL(sandbox.admin(name))
                session.execute("FLUSH SSL")
                session.close()
            for file in (chain, key):
                copy = data / file.name
                shutil.copy(file, copy)
                shutil.chown(copy, data.stat().st_uid, data.stat().st_gid)
                copy.chmod(0o600)
            session_there = drivers.Postgres(admin)
            settings = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
            for setting, value in settings.items():
                session_there.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
            session_there.execute("SELECT pg_reload_conf()")
            session_there.close()

        yield Secured(sandbox, place / "authority.pem", present)


def mysql_is_encrypted(endpoint: Endpoint) -> bool:
    session = drivers.MySQL(endpoint)
    try:
        encrypted = session.uses_tls
    finally:
        session.close()
    rows = drivers.read_arrow(endpoint, "SELECT 1 AS one", tls=encrypted)
    assert rows.num_rows == 1
    return encrypted


def postgres_is_encrypted(endpoint: Endpoint) -> bool:
    question = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    session = drivers.Postgres(endpoint)
    encrypted = bool(session.rows(question)[0][0])
    session.close()
    arrow = drivers.PostgresArrow(endpoint)
    assert arrow.read_arrow(question).column(0).to_pylist() == [encrypted]
    arrow.close()
    return encrypted


@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_every_ssl_mode_encrypts_or_refuses_as_documented(secured: Secured, certificate: str) -> None:
    """Of each server, in each mode: encrypted where it is to be, refused where it is not who it says."""
    secured.present(certificate)
    found = {}
    for name, connect in (
        ("source", mysql_is_encrypted),
        ("replica", mysql_is_encrypted),
        ("warehouse", postgres_is_encrypted),
    ):
        for mode in MODES:
            try:
                found[name, mode] = "encrypted" if connect(secured.endpoint(name, mode)) else "plain"
            except DatabaseConnectionError as error:
                assert error.remedy
                found[name, mode] = "refused"
    wanted = {mode: "refused" if certificate in REFUSED[mode] else "encrypted" for mode in MODES} | {
        "disabled": "plain"
    }

    assert found == {(name, mode): wanted[mode] for name in ("source", "replica", "warehouse") for mode in MODES}


def test_connectorx_verifies_certificates_too(secured: Secured) -> None:
    """connectorx has connections of its own: none to a server that mysql.connector would refuse. It takes 30 s."""
    secured.present("unknown authority")
    with pytest.raises(ArrowetlError):
        drivers.read_arrow(secured.endpoint("source", "verify_ca"), "SELECT 1 AS one", tls=True)


@pytest.mark.parametrize("name", ["source", "replica", "warehouse"])
@pytest.mark.parametrize("mode", ["required", "verify_ca", "verify_identity"])
def test_a_server_without_tls_is_refused_by_strict_modes(
    sandbox: servers.Sandbox, secured: Secured, name: str, mode: str
) -> None:
    """Is refused by every mode that asks for it."""
    plain = replace(getattr(sandbox, name), ssl_mode=mode, ssl_ca=str(secured.authority))
    with pytest.raises(DatabaseConnectionError):
        (drivers.Postgres if name == "warehouse" else drivers.MySQL)(plain)
