"""
Many clinics: each is a run of its own, none waits for another, and all of them are reported together.

Six clinics here; `ARROWETL_TEST_CLINICS=20 nox -s tests -- tests/fleet/test_fleet.py -n 0` has as many as that.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support import mysql56
from support.clinic import Clinic
from support.clusters import cluster
from support.independent import differences
from support.links import links

from arrowetl import drivers
from arrowetl.config.fleet_yml import read_fleet
from arrowetl.errors import ValidationError
from arrowetl.model.connection import VARIABLES, Endpoint
from arrowetl.sandbox import launch, servers

CLINICS = int(os.environ.get("ARROWETL_TEST_CLINICS", "6"))
DOWN = max(1, CLINICS // 10)
RATE, LATENCY = 20e6 / 8, 0.020
"""20 Mbit a second, and 40 ms there and back."""


@dataclass
class Group:
    """A fleet of clinics, `arrowetl` set to it."""

    clinic: Clinic
    sources: dict[str, Endpoint]
    """Clinic → its server, as it is reached without a link."""
    down: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def up(self) -> list[str]:
        return [name for name in self.sources if name not in self.down]

    def fleet(self, *arguments: str, code: int | None = 0) -> dict[str, Any]:
        done = self.clinic.arrowetl("fleet", *arguments, "--fleet", str(self.file), "--json", **self.environment)
        assert code is None or done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    @property
    def file(self) -> Path:
        return self.clinic.directory / "fleet.yml"

    def write(self, settings: str = "", **clinics: str) -> None:
        lines = [f"settings: {{replica: 'rep_{{clinic}}', schema: 'raw_{{clinic}}'{settings}}}", "clinics:"]
        lines += [f"  {name}: {{prefix: {name.upper()}_{clinics.get(name, '')}}}" for name in self.sources]
        self.file.write_text("\n".join(lines) + "\n")

    def lead(self, name: str, host: str, port: int) -> None:
        """Set a clinic's source to a place."""
        source, prefix = self.sources[name], f"TEST_{name.upper()}_{VARIABLES['source']}"
        self.environment |= {
            f"{prefix}_HOST": host,
            f"{prefix}_PORT": str(port),
            f"{prefix}_DB": source.database,
            f"{prefix}_USER": source.user,
            f"{prefix}_PASSWORD": source.password,
        }

    def at_source(self, name: str, *statements: str) -> None:
        session = drivers.MySQL(self.sources[name])
        for statement in statements:
            session.execute(statement)
        session.close()

    def wrong(self, name: str) -> list[str]:
        """What is not equal of a clinic at either target."""
        sandbox = self.clinic.sandbox
        its = replace(
            sandbox,
            source=self.sources[name],
            replica=replace(sandbox.replica, database=f"rep_{name}"),
            warehouse=replace(sandbox.warehouse, namespace=f"raw_{name}"),
        )
        session = drivers.MySQL(self.sources[name])
        tables = [table for (table,) in session.rows("SHOW TABLES")]
        session.close()
        return [word for table in tables for word in differences(its, table)[0]]


def fill(group: Group, name: str, number: int) -> None:
    """Tables of another number, size and schema for each clinic."""
    note = "varchar(100)" if number % 3 else "mediumtext"
    extra = ", Email varchar(50) NOT NULL DEFAULT ''" if number % 2 else ""
    rows = (300, 2_000, 9_000)[number % 3]
    columns = f"(PatNum bigint NOT NULL, LName varchar(50), Note {note}, Seen datetime{extra}, PRIMARY KEY (PatNum))"
    digits = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
    four = ", ".join(f"({digits}) {name}" for name in "abce")
    numbers = f"SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS n FROM {four}"
    group.at_source(
        name,
        f"CREATE TABLE patient {columns} ENGINE=MyISAM DEFAULT CHARSET=utf8",
        "INSERT INTO patient (PatNum, LName, Note, Seen) SELECT n + 1, CONCAT('Name ', n), REPEAT(MD5(n), 2), "
        f"'2026-01-01' FROM ({numbers}) numbers WHERE n < {rows}",
    )
    for table in range(6 + number % 5):
        group.at_source(
            name,
            f"CREATE TABLE t{table} (Num int NOT NULL, v varchar(40), PRIMARY KEY (Num)) ENGINE=MyISAM",
            f"INSERT INTO t{table} SELECT n + 1, MD5(n) FROM ({numbers}) numbers WHERE n < {100 * (table + 1)}",
        )


@pytest.fixture
def group(clinic: Clinic) -> Iterator[Group]:
    """Clinics whose databases are empty, at servers of several versions where there are some."""
    sandbox = clinic.sandbox
    with ExitStack() as held:
        old = None
        if os.environ.get(mysql56.PROGRAMS):
            endpoint = replace(sandbox.source, port=servers.free_port(), user=launch.ADMIN)
            old = held.enter_context(mysql56.running(sandbox.directory / "mysql-of-some", endpoint))
        there = Group(clinic, {})
        admins = {name: drivers.MySQL(sandbox.admin(name)) for name in ("source", "replica")}
        for admin in admins.values():
            held.callback(admin.close)
        admins["replica"].execute(f"GRANT ALL ON `rep\\_%`.* TO '{sandbox.replica.user}'@'127.0.0.1'")
        for number in range(CLINICS):
            name = f"c{number}"
            server = old if old and number % 4 == 3 else sandbox.admin("source")
            there.sources[name] = replace(server, name="source", database=f"clinic_{name}")
            session = drivers.MySQL(server)
            session.execute(f"DROP DATABASE IF EXISTS clinic_{name}")
            session.execute(f"CREATE DATABASE clinic_{name} DEFAULT CHARACTER SET utf8")
            session.close()
            for variable in ("replica", "warehouse"):
                prefix = VARIABLES[variable]
                for key in ("HOST", "PORT", "DB", "USER", "PASSWORD"):
                    setting = clinic.environment[f"TEST_{prefix}_{key}"]
                    there.environment[f"TEST_{name.upper()}_{prefix}_{key}"] = setting
            there.lead(name, server.host, server.port)
        there.write()
        yield there
        for name, source in there.sources.items():
            session = drivers.MySQL(source)
            session.execute(f"DROP DATABASE clinic_{name}")
            session.close()
            admins["replica"].execute(f"DROP DATABASE IF EXISTS rep_{name}")
        for (schema,) in clinic.warehouse("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'raw\\_%'"):
            clinic.warehouse_execute(f"DROP SCHEMA {schema} CASCADE")


# --- the run ----------------------------------------------------------------------------------


def test_a_fleet_run_shares_workers_and_survives_clinics_that_are_down(group: Group) -> None:
    """Those that are down cost seconds and are reported; all others are equal; workers share the time among clinics."""
    for number, name in enumerate(group.sources):
        fill(group, name, number)
    group.down = tuple(list(group.sources)[1 : 1 + DOWN])
    wanted = [
        {"host": source.host, "port": source.port, "bytes_per_second": RATE, "latency_seconds": LATENCY}
        for source in group.sources.values()
    ]
    took = {}
    with links(wanted) as ports:
        for name, port in zip(group.sources, ports, strict=True):
            group.lead(name, "127.0.0.1", servers.free_port() if name in group.down else port)
        for workers in (1, 8):
            began = time.monotonic()
            day = group.fleet("run", "--max-workers", str(workers), "--force-full", code=1)
            took[workers] = time.monotonic() - began
            for name in group.up:
                # Both times into empty ends.
                if workers == 1:
                    forget(group, name)

    reported = {one["clinic"]: one for one in day["clinics"]}
    print(f"{CLINICS} clinics, {DOWN} of them down: {took[1]:.1f} s by 1 worker, {took[8]:.1f} s by 8")
    assert day["totals"]["clinics"] == CLINICS
    assert {name: reported[name]["exit_code"] for name in group.up} == dict.fromkeys(group.up, 0)
    assert {name: reported[name]["exit_code"] for name in group.down} == dict.fromkeys(group.down, 4)
    assert all(reported[name]["error"]["remedy"] and reported[name]["seconds"] < 15 for name in group.down)
    assert [word for name in group.up for word in group.wrong(name)] == []
    assert took[8] <= (0.2 if CLINICS >= 20 else 0.5) * took[1]


def forget(group: Group, name: str) -> None:
    """As if the clinic had never been loaded."""
    replica = drivers.MySQL(group.clinic.sandbox.admin("replica"))
    replica.execute(f"DROP DATABASE rep_{name}")
    replica.close()
    group.clinic.warehouse_execute(f"DROP SCHEMA raw_{name} CASCADE")


def test_a_clinic_can_be_run_by_itself(group: Group) -> None:
    """Its history and its tables are its own; the others stay as they are."""
    for name in ("c0", "c1"):
        group.at_source(name, "CREATE TABLE t (Num int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    group.fleet("run", "--clinic", "c0,c1")
    group.at_source("c0", "DELETE FROM t WHERE Num = 1")
    group.at_source("c1", "DELETE FROM t WHERE Num = 1")
    time.sleep(2.1)
    day = group.fleet("run", "--clinic", "c1")
    state = group.fleet("status", "--clinic", "c0,c1")

    (reported,) = day["clinics"]
    assert (reported["clinic"], reported["run"]["totals"]["rows_deleted"]) == ("c1", 1)
    rows = {one["clinic"]: one["status"]["tables"][0]["rows"] for one in state["clinics"]}
    assert rows == {"c0": 2, "c1": 1}
    unknown = group.clinic.arrowetl("fleet", "run", "--clinic", "c99", "--fleet", str(group.file), **group.environment)
    assert (unknown.returncode, "unknown clinic: c99" in unknown.stderr) == (2, True)


def test_schema_differences_between_clinics_are_reported(group: Group) -> None:
    """Each clinic is followed by itself; what differs is shown side by side; views unite all, through every change."""
    group.write(", unite: raw_all")
    common = "CREATE TABLE patient (PatNum bigint PRIMARY KEY, LName varchar(20), Age int) ENGINE=MyISAM"
    for name in ("c0", "c1", "c2"):
        group.at_source(name, common, "INSERT INTO patient VALUES (1, 'Verne', 7)")
    three = ("--clinic", "c0,c1,c2")
    before = group.fleet("run", *three)
    group.at_source("c0", "ALTER TABLE patient ADD Email varchar(30)", "UPDATE patient SET Email = 'a@b'")
    group.at_source("c1", "ALTER TABLE patient DROP LName")
    group.at_source("c2", "ALTER TABLE patient MODIFY Age bigint", "UPDATE patient SET Age = 5000000000")
    after = group.fleet("run", *three)
    united = group.clinic.warehouse('SELECT clinic, "PatNum", "LName", "Age", "Email" FROM raw_all.patient ORDER BY 1')

    assert (before["differing"], before["union_views"]) == ([], ["raw_all.patient"])
    assert united == [("c0", 1, "Verne", 7, "a@b"), ("c1", 1, None, 7, None), ("c2", 1, "Verne", 5_000_000_000, None)]
    assert {one["column"]: one["clinics"] for one in after["differing"]} == {
        "Email": {"text": ["c0"], "": ["c1", "c2"]},
        "LName": {"text": ["c0", "c2"], "": ["c1"]},
        "Age": {"integer": ["c0", "c1"], "bigint": ["c2"]},
    }
    assert [word for name in ("c0", "c1", "c2") for word in group.wrong(name)] == []


def test_union_views_keep_clinics_that_were_not_run(group: Group) -> None:
    """A run of one leaves the others in; one that left the fleet goes out; what somebody made there stays."""
    group.write(", unite: raw_all")
    for number, name in enumerate(("c0", "c1")):
        group.at_source(name, "CREATE TABLE t (Num int PRIMARY KEY, clinic int)", f"INSERT INTO t VALUES ({number}, 5)")
    group.fleet("run", "--clinic", "c0,c1")
    group.clinic.warehouse_execute("GRANT SELECT ON raw_all.t TO PUBLIC; CREATE VIEW raw_all.mine AS SELECT 1 AS x")
    group.at_source("c0", "ALTER TABLE t MODIFY clinic bigint", "INSERT INTO t VALUES (8, 6)")
    # What a run that failed leaves there is nobody's table.
    group.clinic.warehouse_execute('CREATE TABLE raw_c1."arrowetl_staging_x" (a int)')
    alone = group.fleet("run", "--clinic", "c0")
    both = group.clinic.warehouse('SELECT _clinic, "Num", clinic FROM raw_all.t ORDER BY 2')
    granted = group.clinic.warehouse("SELECT has_table_privilege('public', 'raw_all.t', 'SELECT')")
    del group.sources["c1"]
    group.write(", unite: raw_all")
    group.fleet("run", "--clinic", "c0")
    left = group.clinic.warehouse("SELECT DISTINCT _clinic FROM raw_all.t")
    views = group.clinic.warehouse("SELECT viewname::text FROM pg_views WHERE schemaname = 'raw_all' ORDER BY 1")

    assert both == [("c0", 0, 5), ("c1", 1, 5), ("c0", 8, 6)]
    assert granted == [(True,)]
    assert alone["union_views"] == ["raw_all.t"]
    assert (left, views) == ([("c0",)], [("mine",), ("t",)])


def test_a_fleet_runs_on_a_dask_cluster(group: Group) -> None:
    """Workers find each clinic's passwords by its prefix, and its tables arrive in its own schema."""
    for number, name in enumerate(("c0", "c1")):
        group.at_source(name, "CREATE TABLE t (Num int PRIMARY KEY)", f"INSERT INTO t VALUES ({number}), (7)")
    variables = {"ETL_ENVIRONMENT": "test", **group.environment}
    with cluster(variables, 2) as there:
        day = group.fleet("run", "--clinic", "c0,c1", "--executor", there.executor)

    assert {one["clinic"]: one["run"]["totals"]["succeeded"] for one in day["clinics"]} == {"c0": 1, "c1": 1}
    assert [word for name in ("c0", "c1") for word in group.wrong(name)] == []


def test_clinic_overrides_apply_to_one_clinic(group: Group) -> None:
    """Its overrides and its hours, next to a tables.yml that all share."""
    group.clinic.tables_file.write_text("tables: {t: {overrides: {batch_size: 100}}}\n")
    always = "hours: '00:00-23:59', time_zone: Asia/Tokyo"
    group.write(c0=", tables: {u: {exclude: true}}", c1=f", {always}")
    for name in ("c0", "c1"):
        group.at_source(name, "CREATE TABLE t (Num int PRIMARY KEY)", "CREATE TABLE u (Num int PRIMARY KEY)",
                        "INSERT INTO t VALUES (1)")  # fmt: skip
    day = group.fleet("run", "--clinic", "c0,c1", code=1)

    reported = {one["clinic"]: one["run"]["tables"] for one in day["clinics"]}
    assert [table["table"] for table in reported["c0"]] == ["t"]
    assert all(
        "these being business hours (00:00-23:59 in Asia/Tokyo)" in t["error"]["message"] for t in reported["c1"]
    )


def test_commands_take_one_clinic_by_name(group: Group) -> None:
    """`run`, `verify` and `status` of one of many, by its name: its own servers, and no other's."""
    place = group.clinic.directory / "conf"
    place.mkdir()
    group.write()
    group.file.rename(place / "fleet.yml")
    for number, name in enumerate(("c0", "c1")):
        group.at_source(name, "CREATE TABLE t (Num int PRIMARY KEY)", f"INSERT INTO t VALUES ({number})")

    def of_one(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = group.clinic.arrowetl(*arguments, "--clinic", "c1", "--json", **group.environment)
        return done.returncode, json.loads(done.stdout)

    created = group.clinic.arrowetl("fleet", "run", "--clinic", "c0,c1", **group.environment)
    group.clinic.warehouse_execute('UPDATE raw_c1.t SET "Num" = 7')
    code, verified = of_one("verify", "--all")
    repaired, _ = of_one("verify", "--all", "--repair")
    status, reported = of_one("status", "--table", "t")

    assert created.returncode == 0, created.stderr
    assert (code, verified["tables"][0]["differences"]) == (5, 2)
    assert (repaired, status, reported["tables"][0]["rows"]) == (0, 0, 1)
    assert group.wrong("c1") == []


def test_two_clinics_with_one_source_are_refused(group: Group) -> None:
    """A slip that would put one practice's patients under another's name: refused before anything is done."""
    there = group.sources["c0"]
    group.sources["c1"] = there
    group.lead("c1", there.host, there.port)
    failed = group.fleet("run", "--clinic", "c0,c1", code=3)

    assert f"c1: its source {there.host}:{there.port}/clinic_c0 is c0's" in failed["error"]["message"]
    group.sources["c1"] = replace(there, database="clinic_c1")


def test_an_unused_prefix_is_refused(group: Group) -> None:
    """A slip of it would lead to the servers that are common to all."""
    group.file.write_text("clinics: {c0: {prefix: CO_}}\n")
    failed = group.fleet("run", code=3)

    assert "c0: no variable begins with TEST_CO_: its servers would be those of all" in failed["error"]["message"]


def test_an_unreadable_clinic_environment_is_that_clinics_problem(group: Group) -> None:
    """Of one clinic: that is its problem, and reported as that."""
    (group.clinic.directory / "c0.env").write_bytes(b"C0_OPENDENTAL_SOURCE_HOST=caf\xe9\n")
    group.file.write_text("clinics: {c0: {env_file: c0.env, prefix: C0_}}\n")
    failed = group.fleet("run", code=3)

    assert "c0.env: cannot be read: it is no UTF-8" in failed["error"]["message"]


def test_an_unknown_executor_is_refused(group: Group) -> None:
    """Refused before anything is done."""
    failed = group.fleet("run", "--executor", "dsak", code=2)

    assert failed["error"]["message"] == "no executor 'dsak'"


def test_fleet_plan_and_validate_cover_every_clinic(group: Group) -> None:
    group.at_source("c0", "CREATE TABLE t (Num int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    group.fleet("run", "--clinic", "c0")
    group.lead("c1", "127.0.0.1", servers.free_port())
    planned = group.fleet("plan", "--clinic", "c0,c1", code=1)
    valid = group.fleet("validate", "--clinic", "c0,c1", code=1)

    plans = {one["clinic"]: one for one in planned["clinics"]}
    assert plans["c1"]["error"]["kind"] == "DatabaseConnectionError"
    assert [table["mode"] for table in plans["c0"]["plan"]["tables"]] == ["skipped"]
    problems = {one["clinic"]: one["problems"] for one in valid["clinics"]}
    assert any("source" in problem for problem in problems["c1"])


def test_a_new_clinics_missing_database_is_no_problem(group: Group) -> None:
    """Its replica's database is what the first run makes: until then that is no problem, and nothing makes it."""
    group.at_source("c0", "CREATE TABLE t (Num int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    valid = group.fleet("validate", "--clinic", "c0")
    planned = group.fleet("plan", "--clinic", "c0")

    assert valid["clinics"] == [{"clinic": "c0", "problems": []}]
    assert [table["reason"] for table in planned["clinics"][0]["plan"]["tables"]] == ["first load"]
    assert group.fleet("run", "--clinic", "c0")["totals"]["good"] == 1


def test_a_clinic_whose_database_may_not_be_created_is_reported(group: Group) -> None:
    """The account may make `rep_…` alone: before the first run as in it, that is reported."""
    group.at_source("c0", "CREATE TABLE t (Num int PRIMARY KEY)")
    group.file.write_text(group.file.read_text().replace("rep_{clinic}", "elsewhere_{clinic}"))
    (found,) = group.fleet("validate", "--clinic", "c0", code=4)["clinics"]

    assert "elsewhere_c0" in found["problems"][0]


# --- fleet.yml ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clinics: {}", "there must be one at least"),
        ("clinics: {a: {}}", "clinics.a: needs an env_file, or a prefix"),
        ("clinics: {a: {prefix: A_, hour: '1'}}", "line 1: clinics.a.hour: unknown key (did you mean hours?)"),
        ("clinics: {a b: {prefix: A_}}", "clinics.a b: must be a name of letters, digits and _"),
        ("clinics: {a: {prefix: A_, time_zone: Mars}}", "must be a time zone like America/Chicago"),
        ("settings: {schema: raw}\nclinics: {a: {prefix: A_}}", "a name with {clinic} in it"),
        ("clinics: {a: {prefix: A_, schema: x}, b: {prefix: B_, schema: x}}", "clinics.b: its schema x is a's"),
        ("clinics: {a: {prefix: A_, replica: x}, b: {prefix: B_, replica: X}}", "clinics.b: its replica X is a's"),
        ("settings: {unite: raw_a}\nclinics: {a: {prefix: A_}}", "settings.unite: raw_a is a's schema"),
        (
            "clinics: {a: {prefix: A_, tables: {t: {workers: many}}}}",
            "clinics.a.tables.t.workers: must be an integer from 1",
        ),
        (
            "settings: {max_worker: 3}\nclinics: {a: {prefix: A_}}",
            "settings.max_worker: unknown key (did you mean max_workers?)",
        ),
        ("clinics: {a: {prefix: a_}}", "clinics.a.prefix: must be what names of variables begin with"),
    ],
)
def test_fleet_yml_problems_are_reported(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text(text)
    with pytest.raises(ValidationError) as reported:
        read_fleet(path)

    assert words in reported.value.message
