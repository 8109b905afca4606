"""
What is in the warehouse, as of when, from which run; as metrics and alerts, too.

It asks the warehouse alone, and writes nothing there. What is shown is
`render_verify`'s business; what is worth an alert, `flags`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from arrowetl import preflight
from arrowetl.config import files
from arrowetl.config.env import WEBHOOK_VARIABLE, Settings
from arrowetl.config.table_names import chosen_tables
from arrowetl.config.tables_yml import TablesFile, examined_tables
from arrowetl.errors import ConfigurationError, EnvironmentError, Interrupted
from arrowetl.model.document import NOBODY, Identity, document
from arrowetl.model.judgement import Facts, Judgement, judge
from arrowetl.monitoring import flags, webhook
from arrowetl.state.ledger import Ledger


@dataclass(frozen=True)
class Status:
    """The ledger's last word on everything."""

    environment: str
    now: datetime
    run: Mapping[str, Any] | None
    """The last run; None where there was none."""
    tables: tuple[Mapping[str, Any], ...]
    """Those that failed first, then those that were found to differ, then those that are overdue."""
    warnings: tuple[str, ...] = ()
    """Why the webhook could not be notified."""
    missed: str = ""
    """That a run did not come, in words."""
    at_work: bool = False
    """Whether the last run, which has not ended, goes on: it has its lock."""
    about: Identity = NOBODY
    """Whose it is."""
    exit_code: int = 0
    """Of the command that asked."""

    @property
    def good(self) -> bool:
        """Whether the last run came and ended well, and no table failed, is missing, overdue or found to differ."""
        return self.judgement.good

    @property
    def judgement(self) -> Judgement:
        """What it amounts to."""
        run = self.run or {}
        return judge(
            Facts(
                has_run=self.run is not None,
                begun=not run.get("error"),
                ended=run.get("ended_at") is not None,
                at_work=self.at_work,
                interrupted=run.get("exit_code") == Interrupted.exit_code,
                tables=len(self.tables),
                failed=sum(row["load_status"] != "success" for row in self.tables),
                missing=len(run.get("missing") or ()),
                differing=sum(row["differed_at"] is not None for row in self.tables),
                overdue=sum(bool(row["overdue"]) for row in self.tables),
                missed=bool(self.missed),
                shows_nothing=bool(run.get("shows_nothing")),
                exit_code=run.get("exit_code") or 0,
            )
        )

    def as_json(self) -> dict[str, Any]:
        """The document `status --json` prints."""
        more: dict[str, Any] = {
            "now": self.now.isoformat(),
            "good": self.good,
            "word": self.judgement.word,
            "missed": self.missed or None,
            "run": self.run and {name: _said(value) for name, value in self.run.items()},
            "tables": [{name: _said(value) for name, value in row.items()} for row in self.tables],
            "warnings": list(self.warnings),
        }
        about = replace(self.about, environment=self.environment)
        return document("status", self.exit_code, about, **more)


def _said(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def status(settings: Settings, tables: Sequence[str] = ()) -> Status:
    """
    What the warehouse says; overdue tables by tables.yml, where there is one.

    Args:
        tables: of these alone; of all, where none is named.

    Raises:
        UsageError: a table that was named was never loaded there.
        DatabaseError: it cannot be asked.
    """
    endpoint = settings.endpoint("warehouse")
    preflight.reach(endpoint)
    with closing(Ledger(None, endpoint)) as ledger:
        rows, run = ledger.tables(), ledger.last_run()
        at_work = run is not None and run["ended_at"] is None and ledger.is_at_work(run["run_id"])
    chosen = _chosen(settings)
    now = datetime.now(UTC)
    wanted = chosen_tables(tuple(tables), [row["table"] for row in rows], _NEVER) if tables else ()
    # Of a table that failed, and was excluded since, there is nothing to be seen to any more.
    of_interest = [row for row in rows if row["load_status"] == "success" or not chosen.of(row["table"]).excluded]
    rows_shown = [_status_row(row, chosen, now) for row in of_interest if not wanted or row["table"] in wanted]
    rows_shown.sort(
        key=lambda row: (row["load_status"] == "success", not row["differed_at"], not row["overdue"], row["table"])
    )
    return Status(
        settings.environment,
        now,
        run,
        tuple(rows_shown),
        missed=flags.missed(rows_shown, now),
        at_work=at_work,
        about=settings.identity,
    )


_NEVER = "`arrowetl status` lists those that a run was asked for"


def _chosen(settings: Settings) -> TablesFile:
    """What tables.yml says; nothing where there is none: what is in the warehouse can be shown without it."""
    try:
        return examined_tables(settings.tables_file, settings.chosen)[0]
    except ConfigurationError:
        return TablesFile({}, {})


def _status_row(row: Mapping[str, Any], chosen: TablesFile, now: datetime) -> dict[str, Any]:
    checked, loaded = (_in_utc(row[name]) for name in ("checked_at", "loaded_at"))
    every = row["interval_seconds"]
    return {
        **row,
        "loaded_at": loaded,
        "checked_at": checked,
        "lag_seconds": round((now - checked).total_seconds()) if checked else None,
        "expected_at": checked + timedelta(seconds=every) if checked and every else None,
        "overdue": bool(flags.overdue(row["table"], checked, chosen.of(row["table"]), now)),
    }


def _in_utc(timestamp: datetime | None) -> datetime | None:
    return timestamp and timestamp.replace(tzinfo=timestamp.tzinfo or UTC)


def measured(settings: Settings, found: Status) -> str | None:
    """Write the metrics where they are wanted; what went wrong, in words."""
    if settings.metrics_file is None:
        return None
    from arrowetl.monitoring import metrics

    try:
        files.write_atomically(settings.metrics_file, metrics.text(found.run, found.tables, settings.clinic))
    except OSError as error:
        return f"metrics cannot be written to {settings.metrics_file}: {error.strerror}"
    return None


def alert(settings: Settings, found: Status) -> str | None:
    """
    Notify the webhook of a run that did not come, and of tables that failed or are overdue, as tables.yml chooses;
    return what went wrong, in words.

    Raises:
        EnvironmentError: there is none.
    """
    if not settings.webhook:
        raise EnvironmentError(
            f"{WEBHOOK_VARIABLE} is not set: no alert can be sent", f"set {WEBHOOK_VARIABLE}, or leave out --alert"
        )
    alerts = flags.late(found.tables, _chosen(settings).tables)
    if found.missed:
        remedy = "is the scheduler running? `arrowetl run --all` shows what prevents a run"
        alerts.insert(0, {"table": None, "kind": "missed", "message": found.missed, "remedy": remedy})
    if not alerts:
        return None
    run_id = found.run["run_id"] if found.run else None
    wrong = webhook.post(settings.webhook, webhook.document(found.environment, settings.clinic, run_id, None, alerts))
    return f"{len(alerts)} alerts could not be sent to {WEBHOOK_VARIABLE}: {wrong}" if wrong else None
