"""
What servers, accounts and people do to a warehouse between two runs: one folder a situation, loaded by `arrowetl`.

A folder has a file of SQL for each run and place, `1.source.sql`, `2.replica.sql`, `3.warehouse.sql`, which is run
there by an administrator before that run; and `situation.yml`, which says what it is and what must come of it:

    says: one sentence
    options: {replica: [--lower-case-table-names=1]}    servers of its own, started so
    account: {source: [reader, password]}               who asks there, instead of the usual one
    tables: {…}                                          a tables.yml; or
    analyze: true                                        one that `arrowetl analyze` writes before the first run
    together: true                                       runs are published together
    limits: {full_row_checksum_rows_max: 2000}           what is a large table, so that a small one is
    put back: {source: [SET GLOBAL …]}                   when it has ended
    runs: {1: {…}, 2: {…}}                             what must come of each; without a word, that all is equal

Of a run: `run` (more arguments of `Etl.run`), `exit` (0), `failed` (table → words of its message or remedy), `reported`
(words of a reason, a note or a warning), `modes` (table → mode), `differs` (tables that are not compared), `compared`
(whether any are), `status` (good, or not).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.clinic import Clinic, chosen, empty, settle
from support.independent import differences

import arrowetl
from arrowetl import drivers, limits
from arrowetl.model.connection import VARIABLES
from arrowetl.sandbox import servers

FOLDERS = sorted(path.parent for path in (Path(__file__).parent.parent / "situations").glob("*/situation.yml"))
_PLACES = ("source", "replica", "warehouse")


@pytest.fixture(scope="module")
def others() -> Iterator[dict[tuple[str, ...], servers.Sandbox]]:
    """Servers that were started with options of their own, for whoever asks for the same."""
    with ExitStack() as held:
        yield _Started(held)


class _Started(dict[tuple[str, ...], servers.Sandbox]):
    def __init__(self, held: ExitStack) -> None:
        super().__init__()
        self._held = held

    def __missing__(self, options: tuple[str, ...]) -> servers.Sandbox:
        self[options] = self._held.enter_context(servers.sandbox(f"situation-{len(self)}", mariadb_options=options))
        return self[options]


def _grouped(folder: Path) -> Any:
    """Those that want servers of the same options follow each other."""
    options = yaml.safe_load((folder / "situation.yml").read_text()).get("options")
    return pytest.param(folder, marks=pytest.mark.xdist_group(str(options)) if options else (), id=folder.name)


@pytest.mark.parametrize("folder", [_grouped(folder) for folder in FOLDERS])
def test_situation_ends_as_described(
    clinic: Clinic,
    others: Mapping[tuple[str, ...], servers.Sandbox],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = yaml.safe_load((folder / "situation.yml").read_text())
    for limit, value in said.get("limits", {}).items():
        monkeypatch.setattr(limits, limit, value)
    if chosen("source") != "mariadb" or chosen("replica") != "mariadb":
        pytest.skip("situations are written in MariaDB's SQL")
    for place, options in said.get("options", {}).items():
        started = others[tuple(options)]
        clinic.sandbox = replace(clinic.sandbox, **{place: getattr(started, place)})
        clinic.environment[f"TEST_{VARIABLES[place]}_PORT"] = str(getattr(started, place).port)
        empty(replace(started, warehouse=clinic.sandbox.warehouse))
    for place, (user, password) in said.get("account", {}).items():
        clinic.environment |= {
            f"TEST_{VARIABLES[place]}_USER": user,
            f"TEST_{VARIABLES[place]}_PASSWORD": password,
        }
    clinic.undo.append(lambda: _put_back(clinic, said.get("put back", {})))
    if "tables" in said:
        clinic.tables_file.write_text(yaml.safe_dump({"tables": said["tables"]}))
    for day in sorted({1, *said.get("runs", {})}):
        for place in _PLACES:
            if (statements := folder / f"{day}.{place}.sql").exists():
                _say(clinic, place, statements.read_text())
        if said.get("update_times", True):
            settle()
        if day == 1 and said.get("analyze"):
            assert clinic.arrowetl("analyze").returncode == 0
        _judge(clinic, said, said.get("runs", {}).get(day) or {}, day)


def _judge(clinic: Clinic, said: Mapping[str, Any], wanted: Mapping[str, Any], day: int) -> None:
    how = {"publish": "together"} if said.get("together") else {}
    # In this very process: the command itself is seen to start elsewhere.
    with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
        run = etl.run(all=True, **how, **wanted.get("run", {})).as_json()
    reported = json.dumps(run["warnings"]) + json.dumps([[t["reason"], t["notes"], t["flags"]] for t in run["tables"]])
    failed = {t["table"]: f"{t['error']['message']}\n{t['error']['remedy']}" for t in run["tables"] if t["error"]}
    assert sorted(failed) == sorted(wanted.get("failed", {})), (day, failed, run["warnings"])
    for table, words in wanted.get("failed", {}).items():
        assert re.search(words, failed[table], re.DOTALL), (day, failed[table])
        assert "\nNone" not in failed[table], "there is no remedy"
    assert run["exit_code"] == wanted.get("exit", int(bool(failed))), (day, run["warnings"], reported)
    for words in wanted.get("reported", ()):
        assert re.search(words, reported), (day, words, reported)
    modes = {t["table"]: t["mode"] for t in run["tables"]}
    assert {name: modes[name] for name in wanted.get("modes", {})} == wanted.get("modes", {}), reported
    apart = {*failed, *wanted.get("differs", ())}
    if wanted.get("compared", True):
        found = {name: differences(clinic.sandbox, name)[0] for name in modes if name not in apart}
        assert {name: problems for name, problems in found.items() if problems} == {}, day
        with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
            compared = etl.verify(list(found)).tables if found else ()
        verified = {one.table: (one.verdict, one.note, one.failure) for one in compared}
        assert {name: one for name, one in verified.items() if one[0] != "equal"} == {}, day
    if "status" in wanted:
        with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
            judged = etl.status()
        assert judged.good is (wanted["status"] == "good"), (day, judged.judgement)


def _say(clinic: Clinic, place: str, text: str) -> None:
    """Statements that target with a semicolon at a line's end."""
    statements = [one.strip() for one in re.split(r";[ \t]*(?:\n|\Z)", text) if one.strip()]
    session: Any = (
        drivers.Postgres(clinic.sandbox.warehouse)
        if place == "warehouse"
        else drivers.MySQL(clinic.sandbox.admin(place))
    )
    try:
        if place != "warehouse":
            session.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
        for statement in statements:
            session.execute(statement)
    finally:
        session.close()


def _put_back(clinic: Clinic, said: Mapping[str, Any]) -> None:
    for place, statements in said.items():
        for statement in statements:
            _say(clinic, place, statement)
