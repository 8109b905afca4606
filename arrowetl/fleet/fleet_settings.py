"""
The settings of each clinic of a fleet, and that no two of them read the same source.

Its servers are those of its own environment; where its rows go to, fleet.yml
says. `fleet_run` runs it with what is made here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from arrowetl import drivers, preflight, sql
from arrowetl.config import env
from arrowetl.config.connections import Said
from arrowetl.config.env import Settings
from arrowetl.config.fleet_yml import Clinic, Fleet
from arrowetl.errors import ArrowetlError, EnvironmentError, ValidationError, join_problems
from arrowetl.model.connection import Endpoint


class Sources:
    """Which servers and databases are read already, by names that they have of themselves."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def refuse_another(self, clinic: str, source: Endpoint) -> None:
        """
        Raises:
            ValidationError: another clinic's run reads the same: one practice's patients would be shown as another's.
        """
        with closing(drivers.MySQL(source, read_only=True)) as session:
            name = preflight.server_name(session)
        if name is None:
            return
        with self._lock:
            other = self._seen.setdefault((name, source.database.casefold()), clinic)
        if other != clinic:
            raise ValidationError(
                f"{clinic}: its source {source} is {other}'s, at another address; nothing of it was done",
                "see the settings of both",
            )


def settings_of(
    fleet: Fleet, chosen: Sequence[Clinic], tables_file: Path | None, needs: tuple[str, ...]
) -> dict[str, Settings]:
    """Of the clinics that were chosen; those of the others are looked at for sources that are the same."""
    found, problems, seen = dict[str, Settings](), list[str](), dict[str, str]()
    for clinic in sorted(fleet.clinics, key=lambda one: one in chosen):
        try:
            settings = _of(clinic, tables_file, needs if clinic in chosen else ("source",))
        except ArrowetlError as error:
            problems += [f"{clinic.name}: {error.message}"] if clinic in chosen else []
            continue
        if clinic in chosen:
            found[clinic.name] = settings
        if source := settings.endpoints.get("source"):
            place = f"{source.host}:{source.port}/{source.database}"
            other = seen.setdefault(place.casefold(), clinic.name)
            if other != clinic.name and clinic in chosen:
                problems.append(f"{clinic.name}: its source {place} is {other}'s")
    if problems:
        raise ValidationError(
            f"settings of the fleet: {join_problems(problems)}", "set them in each clinic's environment"
        )
    return {clinic.name: found[clinic.name] for clinic in chosen}


def _of(clinic: Clinic, tables_file: Path | None, needs: tuple[str, ...]) -> Settings:
    environment = dict(os.environ)
    test = "TEST_" if environment.get("ETL_ENVIRONMENT", "").strip() == "test" else ""
    named = [*environment, *(env.read_variables(clinic.env_file) if clinic.env_file else [])]
    if not any(name.startswith(f"{test}{clinic.prefix}") for name in named):
        raise EnvironmentError(
            f"no variable begins with {test}{clinic.prefix}: its servers would be those of all",
            "see its prefix in fleet.yml",
        )
    # fleet.yml says which database and schema are a clinic's: no variable and no URL need.
    places = {
        "replica": {"DB": Said(clinic.replica, "fleet.yml")},
        "warehouse": {"SCHEMA": Said(clinic.schema, "fleet.yml")},
    }
    settings = env.settings_from_environment(
        environment, tables_file, clinic.env_file, needs,
        of=env.OneOfMany(clinic.prefix, clinic.env_file is not None, places),
    )  # fmt: skip
    measured = settings.metrics_file
    if measured:
        # Each clinic's are in a file of its own, and have its label.
        measured = measured.with_name(f"{measured.stem}.{clinic.name}{measured.suffix}")
    return replace(settings, chosen=clinic.chosen, clinic=clinic.name, metrics_file=measured)


def make_database(endpoint: Endpoint) -> None:
    """The replica's database of a clinic, where it may be made; where not, its run reports that it is missing."""
    with (
        suppress(ArrowetlError),
        closing(drivers.MySQL(replace(endpoint, database="information_schema"))) as session,
    ):
        session.execute(f"CREATE DATABASE IF NOT EXISTS {sql.mysql_name(endpoint.database)}")


def with_what_is_made_later(settings: Settings) -> Settings:
    """The settings of a clinic whose replica's database `make_database` would make: marked as that."""
    endpoint = settings.endpoints.get("replica")
    if endpoint is None:
        return settings
    later = replace(endpoint, is_made_later=True)
    try:
        with closing(drivers.MySQL(later)) as session:
            there = session.rows(f"SHOW DATABASES WHERE `Database` = {sql.mysql_literal(endpoint.database)}")
            grants = [str(grant) for (grant,) in session.rows("SHOW GRANTS")]
    except ArrowetlError:
        # What is wrong with the server is reported when more is asked of it.
        return settings
    if there or not may_make(endpoint.database, grants):
        return settings
    return replace(settings, endpoints={**settings.endpoints, "replica": later})


def may_make(database: str, grants: Iterable[str]) -> bool:
    """
    Whether grants, as SHOW GRANTS says them, are enough to make a database.

    >>> may_make("rep_north", ["GRANT USAGE ON *.* TO x", "GRANT ALL PRIVILEGES ON `rep\\\\_%`.* TO x"])
    True
    >>> may_make("rep_north", ["GRANT SELECT, CREATE VIEW ON *.* TO x", "GRANT CREATE ON `repXnorth`.* TO x"])
    False
    """
    return bool(preflight.privileges_on(database, grants) & {"ALL", "CREATE"})
