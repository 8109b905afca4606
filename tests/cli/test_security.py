"""
What a stranger gets: no file, no password, no patient's name; not from a server that lies, not from what a run leaves.
"""

from __future__ import annotations

import json
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from support.catalog_values import PATIENT, planned
from support.clinic import Clinic
from support.independent import differences
from support.webhook_listener import listening

import arrowetl
from arrowetl import drivers
from arrowetl.errors import ArrowetlError, ConfigurationError, DatabaseConnectionError, DataExtractionError
from arrowetl.model.connection import Endpoint
from arrowetl.model.plan import Partition
from arrowetl.replica.spill import run_directory, spilled
from arrowetl.sandbox.launch import ADMIN, PASSWORD
from arrowetl.source.reader import Source

# --- a server that lies -------------------------------------------------------------------------


def packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


GREETING = (
    b"\x0a" + b"5.6.0-liar\0" + struct.pack("<I", 1) + b"12345678\0" + struct.pack("<H", 0xF7FF) + b"\x21"
    + struct.pack("<HH", 2, 0x000F) + bytes([21]) + bytes(10) + b"123456789012\0" + b"mysql_native_password\0"
)  # fmt: skip
OK = b"\0\0\0\2\0\0\0"


@contextmanager
def liar(wanted: str, received: list[bytes]) -> Iterator[int]:
    """A MySQL server that answers every query by asking for a file of the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=talk, args=(client,), daemon=True).start()

        def talk(client: socket.socket) -> None:
            with client, suppress(OSError):
                client.sendall(packet(0, GREETING))
                client.recv(65_536)
                client.sendall(packet(2, OK))
                while asked := client.recv(65_536):
                    if asked[4:5] != b"\x03" or asked[5:8] == b"SET":
                        client.sendall(packet(1, OK))
                        continue
                    client.sendall(packet(1, b"\xfb" + wanted.encode()))
                    received.append(client.recv(65_536))
                    client.sendall(packet(3, OK))

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("role", ["source", "replica"])
def test_a_server_cannot_read_local_files(tmp_path: Path, role: str) -> None:
    """What it asks for stays here, be it outside of the spill directory or reached from inside of it."""
    secret, spills = tmp_path / "secret", tmp_path / "spills"
    secret.write_text("nobody's business")
    spills.mkdir()
    (spills / "way-out").symlink_to(secret)
    for wanted in (str(secret), str(spills / ".." / "secret"), str(spills / "way-out")):
        received: list[bytes] = []
        with liar(wanted, received) as port:
            endpoint = Endpoint(role, "127.0.0.1", port, "d", "u", "p", ssl_mode="disabled")
            directory = spills if role == "replica" else None
            with pytest.raises(ArrowetlError), closing(drivers.MySQL(endpoint, infile_directory=directory)) as session:
                session.rows("SELECT 1")
        assert b"business" not in b"".join(received)


def test_an_endless_packet_is_cut_off() -> None:
    """The largest packet there is, of which nothing comes: the wait ends, and little is held for it meanwhile."""

    def talk(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.sendall(packet(0, GREETING))
            client.recv(65_536)
            client.sendall(packet(2, OK))
            while (asked := client.recv(65_536)) and asked[5:8] == b"SET":
                client.sendall(packet(1, OK))
            client.sendall(b"\xff\xff\xff\x01")
            client.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=talk, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        endpoint = Endpoint("replica", "127.0.0.1", port, "d", "u", "p", ssl_mode="disabled", silence_seconds=1)
        before = psutil.Process().memory_info().rss
        with pytest.raises(DatabaseConnectionError), closing(drivers.MySQL(endpoint)) as session:
            session.rows("SELECT 1")

    assert psutil.Process().memory_info().rss - before < 64 * 2**20


def test_unexpected_columns_fail_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer columns than were asked for, or more: the table fails, and is reported."""
    monkeypatch.setattr(drivers, "read_arrow", lambda *arguments: pa.table({"one": [1], "other": [2], "third": [3]}))
    source = Source(Endpoint("source", "127.0.0.1", 1, "d", "u", "p"))
    monkeypatch.setattr(source, "_tls", False)
    with pytest.raises(DataExtractionError, match="columns were asked for, 3 came"):
        source._read(planned(PATIENT), Partition(0, None, None))


# --- spills -------------------------------------------------------------------------------------


def test_spills_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """The directory is its owner's alone, and so is each file."""
    with run_directory(tmp_path) as directory, spilled(directory, lambda file: file.write(b"x")) as path:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_spill_directory_writable_by_others_is_refused(tmp_path: Path) -> None:
    """Whoever can rename our directory can put another in its place; where the sticky bit is set, nobody can."""
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others may write"), run_directory(tmp_path):
        pass
    tmp_path.chmod(0o1777)
    with run_directory(tmp_path) as directory:
        assert directory.exists()


# --- accounts -----------------------------------------------------------------------------------


def test_the_documented_privileges_suffice_and_are_needed(clinic: Clinic) -> None:
    """What the README says each account needs is enough for everything; and it is all that these have."""
    limited = {"replica": "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX"}
    database = clinic.sandbox.replica.database
    password = PASSWORD.replace("'", "''")
    clinic.create(
        f"CREATE USER limited@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        f"GRANT {limited['replica']} ON `{database}`.* TO limited@'127.0.0.1'",
        "replica",
    )
    clinic.undo.append(lambda: clinic.create("DROP USER limited@'127.0.0.1'", "replica"))
    admin = drivers.Postgres(replace(clinic.sandbox.warehouse, user=ADMIN))
    admin.execute(f"CREATE ROLE limited LOGIN PASSWORD '{password}'")
    admin.execute("CREATE SCHEMA raw AUTHORIZATION limited")
    admin.close()

    def drop() -> None:
        with closing(drivers.Postgres(replace(clinic.sandbox.warehouse, user=ADMIN))) as session:
            session.execute("DROP OWNED BY limited CASCADE")
            session.execute("DROP ROLE limited")

    clinic.undo.append(drop)
    accounts = {"TEST_MYSQL_REPLICATION_USER": "limited", "TEST_POSTGRES_ANALYTICS_USER": "limited"}
    clinic.environment |= accounts
    clinic.create(
        "CREATE TABLE t (Num int NOT NULL, v varchar(20), PRIMARY KEY (Num), KEY (v)) ENGINE=MyISAM;\n"
        "INSERT INTO t SELECT seq, 'v' FROM seq_1_to_2000"
    )
    assert clinic.run()["exit_code"] == 0
    clinic.create("UPDATE t SET v = 'w' WHERE Num < 9;\nDELETE FROM t WHERE Num > 1990;\nALTER TABLE t ADD n int")
    assert clinic.run()["exit_code"] == 0
    snapshot = ("snapshot", "t", "--to", str(clinic.directory / "s"))
    more = (("status",), ("test-connections",), ("validate",), ("analyze",), ("run", "--all", "--force-full"))
    for command in (("verify", "--all"), snapshot, *more):
        done = clinic.arrowetl(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


# --- what is left behind ------------------------------------------------------------------------

PLANTED = ("Grünwald-Planted", "123-45-PLANTED")
KEY = "the key of all masks, to be kept"


def records(clinic: Clinic) -> str:
    """All that the tracking tables hold, at both targets."""
    said = []
    names = clinic.warehouse("SELECT tablename::text FROM pg_tables WHERE schemaname = 'raw' AND tablename LIKE 'etl%'")
    for (name,) in names:
        said += [str(row) for row in clinic.warehouse(f"SELECT t::text FROM raw.{name} t")]
    with closing(drivers.MySQL(clinic.sandbox.replica)) as session:
        for name in ("etl_copy_status", "etl_partition_status"):
            said += [str(row) for row in session.rows(f"SELECT * FROM {name}")]
    return "\n".join(said)


def test_no_password_or_patient_data_is_in_anything_a_run_leaves(clinic: Clinic) -> None:
    """Of runs in which a table fails, and verifications that find something: all they wrote, and the process list."""
    name, ssn = PLANTED
    clinic.create(
        "CREATE TABLE patient (PatNum int NOT NULL, LName varchar(60), SSN varchar(60), PRIMARY KEY (PatNum)) "
        f"ENGINE=MyISAM DEFAULT CHARSET=utf8;\nINSERT INTO patient VALUES (1, '{name}', '{ssn}');\n"
        "CREATE TABLE bad (PatNum int NOT NULL, LName varchar(60), PRIMARY KEY (PatNum)) ENGINE=MyISAM DEFAULT "
        f"CHARSET=utf8;\nINSERT INTO bad VALUES (1, '{name}')"
    )
    clinic.tables_file.write_text(
        "tables: {bad: {overrides: {columns: {LName: {type: varchar(3)}}}}, "
        "patient: {overrides: {columns: {SSN: {mask: hash}}}}}\n"
    )
    heard: list[bytes] = []
    said: list[str] = []
    with listening(heard) as address:
        clinic.environment |= {"ARROWETL_MASK_KEY": KEY, "ARROWETL_WEBHOOK_URL": address}
        for options in (["--json", "-v"], ["--log-format", "json"], []):
            process = clinic.start("run", "--all", *options)
            seen = [" ".join(one.cmdline()) for one in [psutil.Process(process.pid)]]
            stdout, stderr = process.communicate(timeout=60)
            assert process.returncode == 1, stderr
            said += [*seen, stdout, stderr]
        clinic.warehouse_execute("UPDATE raw.patient SET \"LName\" = 'x'")
        verified = (("verify", "--all"), ("verify", "--all", "--json"), ("verify", "--all", "--deep", "--json"))
        more = (("status",), ("status", "--json"), ("validate",), ("test-connections",), ("analyze",))
        for command in (*verified, *more):
            done = clinic.arrowetl(*command)
            said += [done.stdout, done.stderr]
    everything = "\n".join([*said, records(clinic), *(body.decode() for body in heard)])
    everything += "\n".join(
        path.read_bytes().decode(errors="replace") for path in clinic.directory.rglob("*") if path.is_file()
    )

    assert heard, "the webhook was notified of the table that failed"
    assert json.loads(heard[0])["alerts"][0]["table"] == "bad"
    found = [secret for secret in (*PLANTED, PASSWORD, KEY, "a-secret-place") if secret in everything]
    assert found == []
    assert differences(clinic.sandbox, "patient")[0] != []  # the search looked at a run that loaded the value
    assert arrowetl.__version__ in everything
