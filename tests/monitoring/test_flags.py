"""
What is flagged although nothing failed, and who is reported of what did.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from support.clinic import Clinic
from support.webhook_listener import listening

from arrowetl.config import env
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Mode
from arrowetl.model.result import Coercion, Flag, Outcome, Status, Summary
from arrowetl.model.state import TargetState
from arrowetl.monitoring import flags, webhook
from arrowetl.sandbox.servers import free_port

NOW = datetime(2026, 1, 9, tzinfo=UTC)
SLOW = {"monitoring": {"performance_threshold_records_per_second": 1000}}


def outcome(**more: Any) -> Outcome:
    facts = {"mode": Mode.FULL, "status": Status.SUCCEEDED, "rows_extracted": 10_000, "rows_warehouse": 10_000,
             "seconds": 2.0, "settled": True}  # fmt: skip
    return Outcome(table="t", category="small", reason="", **{**facts, **more})


@pytest.mark.parametrize(
    ("more", "settings", "rows_before", "kinds"),
    [
        ({}, SLOW, 10_000, []),
        ({"coercions": (Coercion("d", "zero date", "NULL", 3),)}, SLOW, 10_000, ["coerced"]),
        ({"settled": False}, SLOW, 10_000, ["unsettled"]),
        ({"settled": None}, SLOW, 10_000, []),
        ({"seconds": 11.0}, SLOW, 10_000, ["slow"]),
        ({"seconds": 11.0}, {}, 10_000, []),
        ({"seconds": 11.0, "mode": Mode.RECONCILE}, SLOW, 10_000, []),
        ({"seconds": 0.9, "rows_extracted": 1}, SLOW, 10_000, []),
        ({"rows_warehouse": 15_001}, SLOW, 10_000, ["grew"]),
        ({"rows_warehouse": 15_000}, SLOW, 10_000, []),
        ({"rows_warehouse": 0}, SLOW, 10_000, ["shrank"]),
        ({"rows_warehouse": 900}, SLOW, 10, []),
        ({}, SLOW, None, []),
        ({"status": Status.FAILED, "settled": False}, SLOW, 10, []),
        ({"status": Status.FAILED}, {"time_gap_threshold_days": 6}, 10, ["overdue"]),
        ({"status": Status.FAILED}, {"time_gap_threshold_days": 7}, 10, []),
        ({"status": Status.FAILED}, {"time_gap_threshold_days": 6, "exclude": True}, 10, []),
        ({"status": Status.SKIPPED, "rows_extracted": 0, "seconds": 0.0}, SLOW, 10_000, []),
    ],
)
def test_outcomes_are_flagged_by_the_rules(
    more: dict[str, Any], settings: dict[str, Any], rows_before: int | None, kinds: list[str]
) -> None:
    before = TargetState(rows=rows_before, checked_at=NOW - timedelta(days=7))
    found = flags.flags(outcome(**more), TableSettings(settings), before, NOW)

    assert [flag.kind for flag in found] == kinds


@pytest.mark.parametrize(
    ("url", "good"),
    [("https://hooks.example.org/a", True), ("http://127.0.0.1:8080", True), ("file:///etc/passwd", False),
     ("hooks.example.org", False), ("http://", False), ("http://[::1", False)],
)  # fmt: skip
def test_webhook_addresses_are_checked(url: str, good: bool) -> None:
    assert env.is_address(url) is good


# --- on real servers ----------------------------------------------------------------------------

VISITS = """
CREATE TABLE visit (Num bigint NOT NULL, D date NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;
INSERT INTO visit VALUES (1, '0000-00-00'), (2, '2024-02-29');
CREATE TABLE calm (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;
INSERT INTO calm VALUES (1)
"""
BROKEN = "tables: {calm: {overrides: {columns: {Nun: {exclude: true}}}, monitoring: {alert_on_failure: %s}}}\n"


@pytest.fixture
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and the documents that were sent to it; paths that begin with /no are refused."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(503 if self.path.startswith("/no") else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def test_strict_turns_flags_into_exit_1(clinic: Clinic) -> None:
    """The tables have arrived all the same."""
    clinic.create(VISITS)

    strict = clinic.arrowetl("run", "--all", "--strict")
    lenient = clinic.run("--all", "--force-full")

    (flagged,) = [table for table in lenient["tables"] if table["flags"]]
    assert strict.returncode == 1
    assert "all equal, but flagged: 2 of 2 tables" in strict.stdout
    assert lenient["exit_code"] == 0
    assert flagged["flags"] == [{"kind": "coerced", "message": "visit: values that the warehouse cannot hold: D 1"}]
    assert clinic.published()["warehouse"] == {"visit", "calm"}


def test_a_shrunken_table_is_flagged(clinic: Clinic) -> None:
    clinic.create(
        "CREATE TABLE big (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO big SELECT seq FROM seq_1_to_2000"
    )
    clinic.run()
    clinic.create("DELETE FROM big WHERE Num > 100")

    (table,) = clinic.run()["tables"]

    assert table["flags"] == [{"kind": "shrank", "message": "big: 100 rows, there were 2,000"}]


@pytest.mark.parametrize(("wanted", "reported"), [("true", ["calm"]), ("false", [])])
def test_the_webhook_is_notified_of_failures(
    clinic: Clinic, listener: tuple[str, list[dict[str, Any]]], wanted: str, reported: list[str]
) -> None:
    """Of those that tables.yml wants reported."""
    address, heard = listener
    clinic.create(VISITS)
    clinic.tables_file.write_text(BROKEN % wanted)

    run = clinic.run("--all", ARROWETL_WEBHOOK_URL=address)

    assert run["exit_code"] == 1
    assert [alert["table"] for document in heard for alert in document["alerts"]] == reported
    assert all(document["run_id"] == run["run_id"] for document in heard)
    assert run["warnings"] == [w for w in run["warnings"] if "ARROWETL_WEBHOOK_URL" not in w]


@pytest.mark.parametrize(("address", "said"), [("/no", "it answered 503"), ("", "ConnectionRefusedError")])
def test_an_undeliverable_alert_is_only_a_warning(
    clinic: Clinic, listener: tuple[str, list[dict[str, Any]]], address: str, said: str
) -> None:
    """It says so, and not where it was to go: a part of such an address is a password."""
    clinic.create(VISITS)
    clinic.tables_file.write_text(BROKEN % "true")
    url = f"{listener[0]}{address}/secret" if address else "http://127.0.0.1:1/secret"

    done = clinic.arrowetl("run", "--all", "--json", ARROWETL_WEBHOOK_URL=url)

    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert f"1 alerts could not be sent to ARROWETL_WEBHOOK_URL: {said}" in document["warnings"]
    assert "secret" not in done.stdout + done.stderr


def test_an_invalid_webhook_address_is_refused_first(clinic: Clinic) -> None:
    done = clinic.arrowetl("run", "--all", ARROWETL_WEBHOOK_URL="file:///etc/passwd")

    assert done.returncode == 3
    assert "ARROWETL_WEBHOOK_URL: must be an address like https://hooks.example.org/" in done.stderr


def test_an_overdue_table_is_reported_by_runs_and_status(clinic: Clinic) -> None:
    """By a run that was not asked for it, and by `status`, with the flags of the last run."""
    clinic.create(
        "CREATE TABLE visit (Num bigint NOT NULL, Seen datetime, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "CREATE TABLE bill (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO visit VALUES (1, '2020-01-01')"
    )
    clinic.run()
    clinic.warehouse_execute(
        "UPDATE raw.etl_load_status SET _checked_at = now() - interval '31 days' WHERE table_name = 'bill'"
    )

    run = clinic.run("--table", "visit")
    strict = clinic.run("--table", "visit", "--strict")
    status = clinic.arrowetl("status")
    reported = {table["table"]: table for table in json.loads(clinic.arrowetl("status", "--json").stdout)["tables"]}
    one = json.loads(clinic.arrowetl("status", "--table", "visit", "--json").stdout)
    unknown = clinic.arrowetl("status", "--table", "vist")

    assert [table["table"] for table in one["tables"]] == ["visit"]
    assert (unknown.returncode, "did you mean visit?" in unknown.stderr) == (2, True)
    assert run["overdue"] == [{"table": "bill", "message": "bill: its last success is 31 days old, 30 are allowed"}]
    assert (run["exit_code"], strict["exit_code"]) == (0, 1)
    assert {name: one["overdue"] for name, one in reported.items()} == {"bill": True, "visit": False}
    assert [flag["kind"] for flag in reported["visit"]["flags"]] == []
    assert "2 tables, 0 failed, 1 overdue; --all lists the other 1; times are UTC" in status.stdout


@pytest.mark.parametrize(("wanted", "reported"), [({}, ["bill"]), ({"alert_on_failure": False}, [])])
def test_overdue_tables_alert_where_failures_do(wanted: dict[str, bool], reported: list[str]) -> None:
    late = Flag("overdue", "bill: its last success is 31 days old, 30 are allowed")
    summary = Summary("r", "test", NOW, NOW, (), 0, overdue={"bill": late})

    found = flags.alerts(summary, {"bill": TableSettings({"monitoring": wanted})})

    assert [alert["table"] for alert in found] == reported


def test_status_shows_the_last_runs_flags(clinic: Clinic) -> None:
    clinic.create(
        "CREATE TABLE visit (Num bigint NOT NULL, Seen datetime, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO visit VALUES (1, '0000-00-00')"
    )
    clinic.run()

    (reported,) = json.loads(clinic.arrowetl("status", "--json").stdout)["tables"]

    assert reported["flags"] == [{"kind": "coerced", "message": "visit: values that the warehouse cannot hold: Seen 1"}]


# --- a run that did not come ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "wanted"),
    [
        ([20, 20, 20], ""),
        ([28, 28, 28], ""),
        ([29, 29, 29], "no run came: 3 of 3 tables were due by 2026-03-01 19:00 UTC, by what was usual"),
        ([29, 29, 1], "no run came: 2 of 3 tables were due by 2026-03-01 19:00 UTC, by what was usual"),
        ([29, 1, 1], ""),
        ([], ""),
    ],
)
def test_a_missing_run_is_reported_after_its_interval(hours: list[int], wanted: str) -> None:
    """Reported five hours after it was due, where runs are a day apart."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    day = timedelta(days=1)
    rows = [
        {"load_status": "success", "interval_seconds": 86_400.0, "expected_at": now - timedelta(hours=before) + day}
        for before in hours
    ]

    assert flags.missed(rows, now) == wanted
    # Of those that failed a run did come, and runs by hand promise no other.
    assert flags.missed([{**row, "load_status": "failed"} for row in rows], now) == ""
    assert flags.missed([{**row, "interval_seconds": 300.0} for row in rows], now) == ""


def test_status_check_exits_by_the_last_run(clinic: Clinic) -> None:
    """Exit 0 after a good run; 1 where a table failed, and where no run came, which the webhook is reported as well."""
    clinic.create(
        "CREATE TABLE a (Num int PRIMARY KEY, v varchar(20)) ENGINE=MyISAM;\nINSERT INTO a VALUES (1, 'abcd')"
    )
    assert clinic.arrowetl("status", "--check").returncode == 1
    clinic.run()
    clinic.run()
    assert clinic.arrowetl("status", "--check").returncode == 0
    # As if they had come three days ago, and two.
    for table, column in (("etl_run_history", "started_at"), ("etl_table_history", "started_at")):
        later = f"(SELECT count(*) FROM raw.etl_run_history h WHERE h.run_id > {table}.run_id)"
        clinic.warehouse_execute(f"UPDATE raw.{table} SET {column} = {column} - interval '1 day' * (2 + {later})")
    clinic.warehouse_execute("UPDATE raw.etl_load_status SET _checked_at = _checked_at - interval '2 days'")
    heard: list[bytes] = []
    with listening(heard) as address:
        clinic.environment["ARROWETL_WEBHOOK_URL"] = address
        late = clinic.arrowetl("status", "--check", "--alert", "--json")
    document = json.loads(late.stdout)
    assert (late.returncode, document["good"]) == (1, False)
    assert document["missed"].startswith("no run came: 1 of 1 tables")
    (alert,) = json.loads(heard[0])["alerts"]
    assert (alert["kind"], alert["table"]) == ("missed", None)
    clinic.tables_file.write_text("tables: {a: {overrides: {columns: {v: {type: varchar(2)}}}}}\n")
    clinic.create("INSERT INTO a VALUES (2, 'abcde')")
    clinic.run()
    assert clinic.arrowetl("status", "--check").returncode == 1


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9\r\n", b"", b"HTTP/1.1 hello\r\n\r\n", b"\0\1\2"])
def test_a_webhook_that_is_no_http_server_is_a_warning(answer: bytes) -> None:
    """Whoever waits there is no listener: that is reported by its name, and ends nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answers() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        waiting = threading.Thread(target=answers)
        waiting.start()
        wrong = webhook.post(f"http://127.0.0.1:{server.getsockname()[1]}/secret", {"run_id": "r"})
        waiting.join()

    assert wrong
    assert "secret" not in wrong


def test_a_run_that_cannot_begin_is_the_last_one(clinic: Clinic) -> None:
    """Where the warehouse can be reached: `status`, `runs` and `report` would speak of the one before it."""
    clinic.create("CREATE TABLE a (Num int PRIMARY KEY) ENGINE=MyISAM;\nINSERT INTO a VALUES (1)")
    clinic.run()
    down = {"TEST_OPENDENTAL_SOURCE_PORT": str(free_port())}
    assert clinic.arrowetl("run", "--all", **down).returncode == 4
    checked, listed = clinic.arrowetl("status", "--check"), clinic.arrowetl("runs", "--json")
    page = clinic.arrowetl("report", "--output", "-").stdout

    assert checked.returncode == 1
    assert "did not begin, exit code 4: source 127.0.0.1:" in checked.stdout
    assert [one["exit_code"] for one in json.loads(listed.stdout)["runs"]] == [4, 0]
    assert "Did not run" in page
    assert "cannot connect" in page
    clinic.run()
    assert clinic.arrowetl("status", "--check").returncode == 0
