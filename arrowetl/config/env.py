"""
The environment → settings, or every problem at once.

Reads the environment and its file, and decides nothing about tables. What is
chosen of those is `tables_yml`'s to read.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from arrowetl import limits
from arrowetl.config import arrowetl_yml, connections
from arrowetl.config.connections import Said
from arrowetl.config.files import DEFAULT_TABLES
from arrowetl.errors import ConfigurationError, EnvironmentError, did_you_mean, indented, join_problems
from arrowetl.model.connection import (
    MASK_KEY_CHARACTERS_MIN,
    MASK_KEY_VARIABLE,
    VARIABLES,
    Credentials,
    Endpoint,
)
from arrowetl.model.document import Identity
from arrowetl.model.humanize import listed

TEST = "test"
"""The environment with a guard: a production host that happens to be exported is never reached from it."""
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
DEFAULT_SPILL_DIRECTORY = tempfile.gettempdir()
WEBHOOK_VARIABLE = "ARROWETL_WEBHOOK_URL"

# Name → (default, what it is for); `validate` lists them.
ARROWETL_VARIABLES = {
    "ARROWETL_SPILL_DIR": (DEFAULT_SPILL_DIRECTORY, "partitions wait for LOAD DATA in a private directory below it"),
    WEBHOOK_VARIABLE: (
        "not set",
        "is sent JSON of tables that failed or were slow, as tables.yml chooses by `monitoring`",
    ),
    "ARROWETL_LOG_DIR": ("logs", "analyze writes what changed at the source below it, and the tables.yml there was"),
    "ARROWETL_METRICS_FILE": ("not set", "gets metrics for Prometheus' textfile collector, from `run` and `status`"),
    MASK_KEY_VARIABLE: ("not set", "the key of `mask: hash`; who has it can find out which name was hashed"),
}
# Name → (default, what it is for, whether it may have a fraction): how long is waited, and how often tried again.
TIMEOUTS = {
    "ARROWETL_CONNECT_SECONDS": (limits.connect_seconds, "connection timeout, in seconds", False),
    "ARROWETL_SILENCE_SECONDS": (
        limits.silence_seconds,
        "network read timeout of a statement, in seconds; 0: none",
        False,
    ),
    "ARROWETL_RETRIES": (limits.retries, "how often a table is tried again after what may pass", False),
    "ARROWETL_RETRY_SECONDS": (
        limits.retry_seconds,
        "before the first of these; twice as long before each other",
        True,
    ),
}
ARROWETL_VARIABLES |= {name: (f"{default:g}", purpose) for name, (default, purpose, _) in TIMEOUTS.items()}
SECRETS = {MASK_KEY_VARIABLE, WEBHOOK_VARIABLE}


@dataclass(frozen=True)
class Settings:
    """Everything a run needs to know that is not in a server."""

    environment: str
    endpoints: Mapping[str, Endpoint]
    tables_file: Path = DEFAULT_TABLES
    spill_directory: Path = field(default_factory=lambda: Path(DEFAULT_SPILL_DIRECTORY))
    mask_key: bytes = field(default=b"", repr=False)
    """Of columns that are hashed; empty where there is none."""
    log_directory: Path = Path("logs")
    webhook: str = field(default="", repr=False)
    """Where failures are reported; empty where nowhere."""
    retries: int = limits.retries
    """How often a table is tried again after what may go by itself."""
    retry_seconds: float = limits.retry_seconds
    metrics_file: Path | None = None
    """Where metrics are written; None where nowhere."""
    clinic: str = ""
    """Whose they are, of many; empty where there is one."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """What is chosen besides tables.yml, in its form."""
    credentials: Credentials | None = None
    """Where a cluster's workers find the passwords, among their own settings; None where they cannot."""
    env_file: Path | None = None
    """That some of them were read from."""
    has_replica: bool = True
    """Whether anything of a replica is configured."""

    @property
    def identity(self) -> Identity:
        """As documents name the environment and its servers."""
        servers = {name: endpoint.as_json() for name, endpoint in self.endpoints.items()}
        return Identity(self.environment, self.clinic or None, servers)

    @property
    def targets(self) -> str:
        """What is written where nobody says otherwise."""
        return "both" if self.has_replica else "warehouse"

    def endpoint(self, name: str) -> Endpoint:
        """
        Raises:
            EnvironmentError: the settings at hand leave this server out.
        """
        if name not in self.endpoints:
            raise EnvironmentError(
                f"no settings for the {name}",
                f"set {connections.OURS[name]}_URL, or {VARIABLES[name]}_HOST and its companions",
            )
        return self.endpoints[name]


@dataclass(frozen=True)
class OneOfMany:
    """Of many clinics in one environment, what is one's own."""

    prefix: str = ""
    """Variables whose names begin with it replace those without it."""
    file_wins: bool = False
    """The file over the environment: it is one clinic's, and the environment is of all."""
    places: Mapping[str, Mapping[str, Said]] = field(default_factory=dict)
    """Server → parts that are as fleet.yml has them, whatever is said elsewhere."""


ALONE = OneOfMany()


def settings_from_environment(
    environment: Mapping[str, str] | None = None,
    tables_file: Path | None = None,
    env_file: Path | None = None,
    needs: tuple[str, ...] = (),
    wants: tuple[str, ...] = (),
    of: OneOfMany = ALONE,
) -> Settings:
    """
    Settings from variables and the file `.env_<environment>` next to tables.yml.

    Args:
        environment: default the operating system's. It wins over the file; a
            blank value is unset.
        env_file: instead of the file next to tables.yml; must exist.
        needs: the servers that are going to be used; where none is named, all that are configured: a replica need not
            be.
        wants: those that are used where there are settings of them.
        of: whose they are, of many.

    Raises:
        EnvironmentError: ETL_ENVIRONMENT is missing or unknown, or a variable
            is missing or impossible; all problems at once.
    """
    outside = dict(os.environ if environment is None else environment)
    chosen = _environment(outside)
    tables_file = tables_file or _path(outside, "ARROWETL_CONFIG")
    env_file = env_file or _path(outside, "ARROWETL_ENV_FILE")
    _refuse_missing(tables_file, env_file)
    tables_file = tables_file or DEFAULT_TABLES
    path = env_file or tables_file.parent / f".env_{chosen}"
    values = prefixed(_values(chosen, path, outside, of.file_wins), of.prefix)
    problems = unknown_variables(values)
    connect, silence, retries, retry_seconds = (_seconds(name, values, problems) for name in TIMEOUTS)
    urls = _urls(chosen, tables_file, problems)
    has_replica = connections.is_configured("replica", values, urls.get("replica"))
    needs = needs or ("source", *(["replica"] if has_replica else []), "warehouse")
    found, wrong = _endpoints(values, urls, (needs, wants), chosen == TEST, of.places)
    problems += wrong
    endpoints = {
        name: replace(endpoint, connect_seconds=int(connect), silence_seconds=int(silence))
        for name, endpoint in found.items()
    }
    spill = values.get("ARROWETL_SPILL_DIR") or DEFAULT_SPILL_DIRECTORY
    mask_key = values.get(MASK_KEY_VARIABLE, "")
    address = values.get(WEBHOOK_VARIABLE, "").strip()
    measured = values.get("ARROWETL_METRICS_FILE", "").strip()
    problems += _impossible(spill, mask_key, address, measured)
    if problems:
        raise EnvironmentError(
            f"settings of the {chosen} environment: {join_problems(problems)}",
            f"set them in the environment or in {path}"
            + ("" if path.exists() else f", which does not exist yet{_init(path)}"),
        )
    return Settings(
        environment=chosen,
        endpoints=endpoints,
        tables_file=tables_file,
        spill_directory=Path(spill),
        mask_key=mask_key.encode(),
        log_directory=Path(values.get("ARROWETL_LOG_DIR") or "logs"),
        webhook=address,
        retries=int(retries),
        retry_seconds=retry_seconds,
        metrics_file=Path(measured) if measured else None,
        credentials=Credentials(chosen, of.prefix, path.name, of.file_wins),
        env_file=path if path.is_file() else None,
        has_replica=has_replica or "replica" in endpoints,
    )


def _init(path: Path) -> str:
    """What else may help somebody who has no settings at all."""
    if path.parent.is_dir():
        others = [str(one) for one in sorted(path.parent.glob(".env_*"))]
        return f"; there is {listed(others, 3)}" if others else ""
    return f"; there is no {path.parent}/ here: `arrowetl init` asks for the servers, as URLs, and writes it"


def _path(outside: Mapping[str, str], name: str) -> Path | None:
    return Path(said) if (said := outside.get(name, "").strip()) else None


def _refuse_missing(tables_file: Path | None, env_file: Path | None) -> None:
    """Places that a person named, where there is nothing."""
    if tables_file is not None and not tables_file.parent.is_dir():
        raise EnvironmentError(
            f"{tables_file}: no such file, and no directory {tables_file.parent}", "see the path after --config"
        )
    if env_file is not None and not env_file.is_file():
        what = "is no file" if env_file.exists() else "no such file"
        raise EnvironmentError(f"{env_file}: {what}", "name the file that --env-file should read")


def _urls(chosen: str, tables_file: Path, problems: list[str]) -> Mapping[str, Said]:
    """Those of arrowetl.yml; none in `test`, in which no file but its own leads to a server."""
    try:
        return {} if chosen == TEST else arrowetl_yml.urls(tables_file)
    except ConfigurationError as error:
        problems.append(indented(str(error)))
        return {}


def _endpoints(
    values: Mapping[str, str],
    urls: Mapping[str, Said],
    names: tuple[Sequence[str], Sequence[str]],
    is_test: bool,
    places: Mapping[str, Mapping[str, Said]],
) -> tuple[dict[str, Endpoint], list[str]]:
    """The servers that are needed, and those that are only wanted: what is missing of these is no problem."""
    found, problems, (needs, wants) = dict[str, Endpoint](), list[str](), names
    for name in (*needs, *wants):
        endpoint, wrong = connections.endpoint(name, values, is_test, urls.get(name), places.get(name, {}))
        problems += wrong if name in needs else []
        if endpoint:
            found[name] = endpoint
    return found, problems


def _impossible(spill: str, mask_key: str, address: str, measured: str) -> Iterator[str]:
    """What is wrong with the values of four variables; empty is unset."""
    if not Path(spill).is_dir():
        yield f"ARROWETL_SPILL_DIR: {spill} is no directory"
    if mask_key and len(mask_key) < MASK_KEY_CHARACTERS_MIN:
        yield f"{MASK_KEY_VARIABLE}: must be {MASK_KEY_CHARACTERS_MIN} characters or more, got {len(mask_key)}"
    if address and not is_address(address):
        yield f"{WEBHOOK_VARIABLE}: must be an address like https://hooks.example.org/…"
    if measured and not Path(measured).parent.is_dir():
        yield f"ARROWETL_METRICS_FILE: no directory {Path(measured).parent}"


SECRETS_VARIABLE = "ARROWETL_SECRETS_DIR"
# Of options, for containers.
_OF_THE_COMMAND_LINE = ("ARROWETL_CONFIG", "ARROWETL_ENV_FILE")
# The sandbox's, and those of tests.
_OTHERS = ("ARROWETL_SANDBOX_", "ARROWETL_TEST_", "ARROWETL_FAULT_", "ARROWETL_CLOCK_")


def known_variables() -> set[str]:
    """The names of all settings."""
    return {*connections.variables(), *ARROWETL_VARIABLES, SECRETS_VARIABLE, *_OF_THE_COMMAND_LINE}


def unknown_variables(values: Mapping[str, str]) -> list[str]:
    """
    Names that look like ours and are none: the setting that was meant would silently not hold.

    >>> unknown_variables({"MYSQL_REPLICATION_SSLMODE": "required", "PATH": "/bin"})
    ['MYSQL_REPLICATION_SSLMODE: no such setting (did you mean MYSQL_REPLICATION_SSL_MODE?)']
    """
    known, begin = known_variables(), (*(f"{prefix}_" for prefix in connections.prefixes()), "ARROWETL_")
    unknown = sorted(n for n in values if n.startswith(begin) and n not in known and not n.startswith(_OTHERS))
    return [f"{name}: no such setting{did_you_mean(name, known)}" for name in unknown]


@dataclass(frozen=True)
class Explained:
    """What holds, and where it is from."""

    servers: Mapping[str, Sequence[tuple[str, str, str]]]
    """Server → part, value and origin."""
    variables: Mapping[str, tuple[str, str]]
    """Name → value and origin."""


def explained(environment: Mapping[str, str], tables_file: Path, env_file: Path | None = None) -> Explained:
    """
    What holds of the servers and of all ARROWETL_ variables, secrets left out.

    Raises:
        EnvironmentError: ETL_ENVIRONMENT is no name, or the file cannot be read.
    """
    chosen = _environment(environment)
    path = env_file or tables_file.parent / f".env_{chosen}"
    values, inside = _values(chosen, path, environment), read_variables(path)
    urls = _urls(chosen, tables_file, [])
    servers = {name: connections.shown(name, values, chosen == TEST, urls.get(name)) for name in VARIABLES}

    def origin_of(name: str) -> str:
        said = environment.get(name) or (environment.get(f"TEST_{name}") if chosen == TEST else None)
        return "" if said or name not in {one.removeprefix("TEST_") for one in inside} else f" in {path}"

    variables = dict[str, tuple[str, str]]()
    for name, (default, _) in ARROWETL_VARIABLES.items():
        value = values.get(name)
        shown = "set" if value and name in SECRETS else value or default
        variables[name] = (shown, (origin_of(name).removeprefix(" in ") or "the environment") if value else "default")
    with_files = {
        name: [(part, value, f"{origin}{origin_of(origin.removeprefix('TEST_'))}") for part, value, origin in parts]
        for name, parts in servers.items()
    }
    return Explained(with_files, variables)


def _environment(outside: Mapping[str, str]) -> str:
    chosen = outside.get("ETL_ENVIRONMENT", "").strip()
    if not _ENVIRONMENT_NAME.fullmatch(chosen):
        found = f"is {chosen!r}, which is not a valid name" if chosen else "is not set"
        raise EnvironmentError(
            f"ETL_ENVIRONMENT {found}",
            "set it to one of: production, test, or another name of yours; there is no default, and no file can set it",
        )
    return chosen


def _seconds(name: str, values: Mapping[str, str], problems: list[str]) -> float:
    """A number of `TIMEOUTS`, or its default."""
    default, _, may_be_part = TIMEOUTS[name]
    said = values.get(name, "").strip() or str(default)
    number = re.fullmatch(r"\d{1,6}(\.\d{1,6})?" if may_be_part else r"\d{1,6}", said)
    if number is None or (name == "ARROWETL_CONNECT_SECONDS" and not float(said)):
        problems.append(f"{name}: must be a number, like {default}, got {said!r}")
        return default
    return float(said)


def read_variables(path: Path) -> dict[str, str | None]:
    """
    Those of a file; none where there is no such file.

    Raises:
        EnvironmentError: it cannot be read.
    """
    try:
        return dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise EnvironmentError(f"{path}: cannot be read: {why}", "save it as UTF-8, readable by you") from error


def _values(chosen: str, path: Path, outside: Mapping[str, str], file_wins: bool = False) -> dict[str, str]:
    inside = read_variables(path)
    values = {key: value for key, value in inside.items() if value and value.strip()}
    if chosen == "test":
        # A production host that happens to be exported must never be reached from a test.
        values |= {key.removeprefix("TEST_"): value for key, value in values.items() if key.startswith("TEST_")}
        ours = tuple(f"{prefix}_" for prefix in connections.prefixes())
        outside = {
            key.removeprefix("TEST_"): value
            for key, value in outside.items()
            if key.startswith("TEST_") or (key.startswith("ARROWETL_") and not key.startswith(ours))
        }
    given = {key: value for key, value in outside.items() if value.strip()}
    return given | values if file_wins else values | given


def at_a_worker(found: Credentials, environment: Mapping[str, str]) -> dict[str, str]:
    """
    What a cluster's worker knows by itself: of its own environment, and of a file that lies there in
    ARROWETL_SECRETS_DIR.

    Raises:
        EnvironmentError: it is of another environment than the run.
    """
    if (own := environment.get("ETL_ENVIRONMENT", "").strip()) != found.environment:
        raise EnvironmentError(
            f"the run is of {found.environment}, and this worker of {own or 'no environment'}",
            "start the worker with the run's ETL_ENVIRONMENT",
        )
    path = Path(environment.get(SECRETS_VARIABLE) or os.devnull) / found.file
    return prefixed(_values(found.environment, path, environment, found.file_wins), found.prefix)


def prefixed(values: Mapping[str, str], prefix: str) -> dict[str, str]:
    """
    Values, in which those whose names have a prefix replace those without it.

    >>> prefixed({"PORT": "1", "NORTH_PORT": "2", "SOUTH_PORT": "3"}, "NORTH_")["PORT"]
    '2'
    """
    own = {name.removeprefix(prefix): value for name, value in values.items() if prefix and name.startswith(prefix)}
    return {**values, **own}


def require_mask_key(settings: Settings, hashed: Sequence[str]) -> None:
    """
    Raises:
        EnvironmentError: columns are to be hashed, and there is no key.
    """
    if not settings.mask_key:
        raise EnvironmentError(
            f"{MASK_KEY_VARIABLE} is not set, and columns are to be hashed: {listed(hashed, 3)}",
            f"add {MASK_KEY_VARIABLE}= with {MASK_KEY_CHARACTERS_MIN} random characters or more to "
            f"{settings.env_file or 'the environment'}, and keep it: with another one, all is loaded again and "
            "nothing old can be joined",
            slug="mask_key_missing",
        )


def is_address(url: str) -> bool:
    """
    >>> is_address("https://hooks.example.org/T0/B0"), is_address("file:///etc/passwd")
    (True, False)
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
