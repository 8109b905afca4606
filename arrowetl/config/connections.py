"""
What is said of a server, in variables, in a URL, in files that other programs read too → an Endpoint, or what is wrong.

It reads the files that are named, and reaches no server. `env` says which variables hold, and asks for each server.
No message has a value of a password or of a URL in it: they name the variable.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from arrowetl.errors import EnvironmentError, did_you_mean
from arrowetl.model.connection import EQUALS, VARIABLES, Endpoint, reserved_name

SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
# As libpq spells them.
_LIBPQ_MODES = {
    "disable": "disabled", "allow": "preferred", "prefer": "preferred", "require": "required",
    "verify-ca": "verify_ca", "verify-full": "verify_identity", "verify-identity": "verify_identity",
}  # fmt: skip
_PARTS = (
    "HOST", "PORT", "DB", "USER", "PASSWORD", "PASSWORD_FILE", "SOCKET", "SSL_MODE", "SSL_CA", "SSL_CERT", "SSL_KEY",
    "URL",
)  # fmt: skip
_OF_THE_WAREHOUSE = ("SCHEMA", "SERVICE")
_PORTS = {"source": "3306", "replica": "3306", "warehouse": "5432"}
_SCHEMES = {"mysql": ("mysql", "mariadb"), "warehouse": ("postgresql", "postgres")}
# What may follow a URL's `?`, and the part that it is.
_URL_OPTIONS = {
    "ssl_mode": "SSL_MODE", "ssl-mode": "SSL_MODE", "sslmode": "SSL_MODE", "ssl_ca": "SSL_CA", "sslrootcert": "SSL_CA",
    "ssl_cert": "SSL_CERT", "sslcert": "SSL_CERT", "ssl_key": "SSL_KEY", "sslkey": "SSL_KEY", "socket": "SOCKET",
    "unix_socket": "SOCKET", "schema": "SCHEMA", "service": "SERVICE", "host": "HOST", "port": "PORT",
}  # fmt: skip
# The same of an option file of MySQL's, and of PostgreSQL's service file.
_MY_CNF = {
    "host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "socket": "SOCKET", "database": "DB",
    "ssl-ca": "SSL_CA", "ssl-mode": "SSL_MODE",
}  # fmt: skip
_SERVICE = {
    "host": "HOST", "port": "PORT", "dbname": "DB", "user": "USER", "password": "PASSWORD", "sslmode": "SSL_MODE",
    "sslrootcert": "SSL_CA", "sslcert": "SSL_CERT", "sslkey": "SSL_KEY",
}  # fmt: skip


NOTHING: Mapping[str, Said] = {}
OURS = {server: names[-1] for server, names in EQUALS.items()}
"""Server → what the names of its variables begin with, of sources that are not OpenDental's as well."""


class Said(NamedTuple):
    """A part of a connection, and where it is from."""

    value: str
    origin: str


@dataclass
class Found:
    """What is known of a server so far."""

    server: str
    parts: dict[str, Said] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_unreadable: bool = False
    """Whether there is a URL of which nothing can be read: what is missing then is not known."""

    def add(self, part: str, value: str, origin: str) -> None:
        """What a person says; two that differ are refused."""
        known = self.parts.setdefault(part, Said(value, origin))
        if known.value != value:
            self.problems.append(f"{known.origin} and {origin}: they differ in the {_in_words(part)}; leave out one")

    def fill(self, part: str, value: str, origin: str) -> None:
        """What a file of another program has, where nobody says more."""
        self.parts.setdefault(part, Said(value, origin))

    def get(self, part: str, default: str = "") -> str:
        return self.parts[part].value if part in self.parts else default


def _in_words(part: str) -> str:
    return {"DB": "database"}.get(part, part.lower().replace("_", " "))


def parts_of(server: str) -> tuple[str, ...]:
    return (*_PARTS, *(_OF_THE_WAREHOUSE if server == "warehouse" else ()))


def prefixes() -> tuple[str, ...]:
    """What the names of all of them begin with."""
    return tuple(prefix for names in EQUALS.values() for prefix in names)


def variables() -> set[str]:
    """The names of all variables of servers."""
    return {f"{prefix}_{part}" for server, names in EQUALS.items() for prefix in names for part in parts_of(server)}


def is_configured(server: str, values: Mapping[str, str], url: Said | None = None) -> bool:
    """Whether anything is said of a server. The files of other programs only say the rest."""
    return bool(url) or any(f"{prefix}_{part}" in values for prefix in EQUALS[server] for part in parts_of(server))


def endpoint(
    server: str,
    values: Mapping[str, str],
    is_test: bool = False,
    url: Said | None = None,
    instead: Mapping[str, Said] = NOTHING,
) -> tuple[Endpoint | None, list[str]]:
    """
    One server, and every problem of what is said of it.

    Args:
        values: the variables that hold, without TEST_ before their names.
        is_test: whether the environment is `test`: its problems name its variables, and no file of another program is
            asked, which may lead to a production server.
        url: that arrowetl.yml has for it.
        instead: parts that hold whatever is said elsewhere.
    """
    found, shown = said_of(server, values, is_test, url)
    found.parts |= instead
    if not is_test:
        _fill_from_files(found)
    # At a socket, of which PostgreSQL gets the directory, a server may ask for no password.
    needs_password = "SOCKET" not in found.parts and not found.get("HOST").startswith("/")
    for part in (
        *(["HOST"] if "SOCKET" not in found.parts else []), "DB", "USER", *(["PASSWORD"] if needs_password else []),
    ):  # fmt: skip
        if part not in found.parts and not found.is_unreadable:
            found.problems.append(f"{shown}_{part} is missing")
    port = _checked(found, shown)
    if found.problems:
        return None, found.problems
    made = Endpoint(
        name=server,
        host=found.get("HOST", "localhost").strip(),
        port=port,
        database=found.get("DB").strip(),
        user=found.get("USER"),
        password=found.get("PASSWORD"),
        namespace=found.get("SCHEMA", "raw").strip() if server == "warehouse" else "",
        ssl_mode=_ssl_mode(found),
        ssl_ca=found.get("SSL_CA") or None,
        ssl_cert=found.get("SSL_CERT") or None,
        ssl_key=found.get("SSL_KEY") or None,
        socket=found.get("SOCKET"),
        by_url=any(part in found.parts and found.parts[part].origin.endswith("_URL") for part in ("HOST", "DB")),
        variables=shown.removeprefix("TEST_"),
    )
    return made, []


def said_of(
    server: str, values: Mapping[str, str], is_test: bool = False, url: Said | None = None
) -> tuple[Found, str]:
    """What variables and arrowetl.yml say of a server, and what the names begin with that are used."""
    found, test = Found(server), "TEST_" if is_test else ""
    named = [prefix for prefix in EQUALS[server] if any(f"{prefix}_{part}" in values for part in parts_of(server))]
    for prefix in named:
        for part in parts_of(server):
            value, origin = values.get(f"{prefix}_{part}"), f"{test}{prefix}_{part}"
            if value is None:
                continue
            if part == "URL":
                _add_url(found, Said(value, origin))
            elif part == "PASSWORD_FILE":
                _add_password_file(found, value, origin)
            else:
                found.add(part, value, origin)
    shown = f"{test}{[*named, VARIABLES[server]][0]}"
    if url:
        _add_url(found, url)
        if "PASSWORD" in found.parts and found.parts["PASSWORD"].origin == url.origin:
            found.problems.append(f"{url.origin}: has a password, for which {shown}_PASSWORD is the place")
    return found, shown


def shown(server: str, values: Mapping[str, str], is_test: bool, url: Said | None) -> list[tuple[str, str, str]]:
    """
    Part, value and origin of what is said of a server; of a password only that there is one. Nothing of a replica that
    is not configured.
    """
    if server == "replica" and not is_configured(server, values, url):
        return []
    found, _ = said_of(server, values, is_test, url)
    if not is_test:
        _fill_from_files(found)
    order = {part: number for number, part in enumerate(parts_of(server))}
    return [
        (_in_words(part), "set" if part == "PASSWORD" else said.value, said.origin)
        for part, said in sorted(found.parts.items(), key=lambda item: order[item[0]])
    ]


def without_password(url: str) -> tuple[str, str]:
    """
    A URL without its password, and that; empty where it has none.

    >>> without_password("mysql://reader:s%2Fx@h:3306/d?ssl_mode=required")
    ('mysql://reader@h:3306/d?ssl_mode=required', 's/x')
    >>> without_password("mysql://reader:p@ss@h/d")
    ('mysql://reader@h/d', 'p@ss')
    """
    before, at, after = url.partition("://")
    authority, slash, rest = after.partition("/")
    # A password may have an @ that nobody has written as %40: the last one is the URL's.
    account, found, place = authority.rpartition("@")
    if not at or not found:
        return url, ""
    user, _, password = account.partition(":")
    return f"{before}://{user}@{place}{slash}{rest}", unquote(password)


def password_of(server: str, values: Mapping[str, str]) -> str | None:
    """The password that variables, a URL or a file of theirs have for a server."""
    found, _ = said_of(server, values)
    return found.parts["PASSWORD"].value if "PASSWORD" in found.parts else None


def _add_url(found: Found, said: Said) -> None:
    """The parts of a URL. Nothing of it is shown: it may have a password in it."""
    kind = "warehouse" if found.server == "warehouse" else "mysql"
    schemes = _SCHEMES[kind]
    try:
        url = urlsplit(said.value.strip())
        port = url.port
    except ValueError:
        found.problems.append(f"{said.origin}: is not a URL; write {schemes[0]}://user@host:port/database")
        found.is_unreadable = True
        return
    if url.scheme not in schemes:
        found.problems.append(f"{said.origin}: must begin with {schemes[0]}://")
        found.is_unreadable = True
        return
    given = {
        "HOST": unquote(url.hostname or ""), "PORT": str(port) if port else "", "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""), "DB": unquote(url.path.removeprefix("/")),
    }  # fmt: skip
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        part = _URL_OPTIONS.get(name.lower())
        if part is None or part not in parts_of(found.server):
            known = [one for one, meant in _URL_OPTIONS.items() if meant in parts_of(found.server)]
            found.problems.append(f"{said.origin}: unknown option {name} after ?{did_you_mean(name, known)}")
        elif given.get(part):
            found.problems.append(f"{said.origin}: says twice what its {_in_words(part)} is")
        else:
            given[part] = value
    for part, value in given.items():
        if value:
            found.add(part, value, said.origin)


def _add_password_file(found: Found, place: str, origin: str) -> None:
    try:
        found.add("PASSWORD", password_in(place), origin)
    except EnvironmentError as error:
        found.problems.append(f"{origin}: {error.message}")


def password_in(place: str) -> str:
    """
    What a file has; of an account without a password, nothing.

    Raises:
        EnvironmentError: it cannot be read.
    """
    try:
        password = Path(place).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise EnvironmentError(f"{place} cannot be read: {why}") from error
    # An editor, or echo, ends the file with a line end.
    return password.removesuffix("\n").removesuffix("\r")


def _checked(found: Found, shown: str) -> int:
    """Its port; what else is said is checked as well."""

    def origin(part: str) -> str:
        said = found.parts.get(part)
        return said.origin if said else f"{shown}_{part}"

    port = found.get("PORT", _PORTS[found.server]).strip()
    is_port = port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535
    if not is_port:
        found.problems.append(f"{origin('PORT')}: must be a number from 1 to 65535, got {port!r}")
    if _ssl_mode(found) not in SSL_MODES:
        mode = found.get("SSL_MODE").strip()
        found.problems.append(f"{origin('SSL_MODE')}: must be one of {', '.join(SSL_MODES)}, got {mode!r}")
    for part in ("SSL_CA", "SSL_CERT", "SSL_KEY"):
        if (place := found.get(part)) and not Path(place).is_file():
            found.problems.append(f"{origin(part)}: no file {place}")
    if found.server != "warehouse" and (found.get("SSL_CERT") or found.get("SSL_KEY")):
        found.problems.append(
            f"{origin('SSL_CERT')}: connectorx, which reads MySQL, cannot show a client certificate; let the account "
            "do without one (REQUIRE SSL), or reach the server through a tunnel that shows it"
        )
    elif bool(found.get("SSL_CERT")) != bool(found.get("SSL_KEY")):
        found.problems.append(f"{shown}_SSL_CERT and {shown}_SSL_KEY: one is of no use without the other")
    if "HOST" in found.parts:
        host = found.get("HOST").strip()
        is_directory = found.server == "warehouse" and host.startswith("/")
        if (any(mark in host for mark in "/@?#") and not is_directory) or "://" in host:
            # It may have a password in it.
            found.problems.append(
                f"{origin('HOST')}: must be a host's name or its address; a URL goes into {shown}_URL"
            )
    part = "SCHEMA" if found.server == "warehouse" else "DB"
    if reserved := reserved_name(found.server, found.get(part).strip()):
        found.problems.append(f"{origin(part)}: {reserved}")
    return int(port) if is_port else 0


def _ssl_mode(found: Found) -> str:
    mode = found.get("SSL_MODE", "preferred").strip().lower()
    return _LIBPQ_MODES.get(mode, mode)


# --- files of other programs --------------------------------------------------------------------


def _fill_from_files(found: Found) -> None:
    if found.server != "warehouse":
        for group, options, file in _my_cnf(found):
            for name, value in options.items():
                if part := _MY_CNF.get(name.replace("_", "-")):
                    found.fill(part, _my_cnf_value(value), f"{file} [{group}]")
        return
    for name, value, place in _service(found):
        if part := _SERVICE.get(name):
            found.fill(part, value, place)
    if "PASSWORD" not in found.parts and (password := _pgpass(found)):
        found.fill("PASSWORD", password, ".pgpass")


def _my_cnf(found: Found) -> Iterator[tuple[str, Mapping[str, str], Path]]:
    """
    The groups of ~/.my.cnf that are about a server: its own, and [client], unless that names another host.
    """
    place = Path.home() / ".my.cnf"
    groups = _read_ini(place, found, re.compile(r"^\s*(!include|!includedir)\b"))
    own = f"client_{found.server}"
    if own in groups:
        yield own, groups[own], place
    client = groups.get("client", {})
    there = found.get("HOST") or groups.get(own, {}).get("host", "")
    if client and (not client.get("host") or not there or _is_same_host(client["host"], there)):
        yield "client", client, place


_ESCAPES = {one: one for one in "\\'\""} | {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "s": " "}


def _my_cnf_value(written: str) -> str:
    r"""
    A value as MySQL's own programs read it: without a comment, the quotes around it, and with its escapes.

    >>> _my_cnf_value('abc # of today'), _my_cnf_value('"a # b"'), _my_cnf_value('abc"'), _my_cnf_value(r"a\sb\\c")
    ('abc', 'a # b', 'abc"', 'a b\\c')
    """
    quote = ""
    for at, letter in enumerate(written):
        if quote:
            quote = "" if letter == quote and written[at - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#":
            written = written[:at].rstrip()
            break
    if len(written) > 1 and written[0] == written[-1] and written[0] in "'\"":
        written = written[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), written)


def _is_same_host(one: str, other: str) -> bool:
    here = {"localhost", "127.0.0.1", "::1"}
    return one.casefold() == other.casefold() or {one.casefold(), other.casefold()} <= here


def _read_ini(place: Path, found: Found, left_out: re.Pattern[str] | None = None) -> dict[str, dict[str, str]]:
    """The groups of a file in the manner of .ini; nothing where there is none."""
    if not place.is_file():
        return {}
    reader = configparser.RawConfigParser(
        allow_no_value=True, strict=False, delimiters=("=",), comment_prefixes=("#", ";"), interpolation=None
    )
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
        kept = [line.strip() for line in lines if not (left_out and left_out.match(line))]
        reader.read_string("\n".join(kept))
    except (OSError, UnicodeDecodeError, configparser.Error):
        found.problems.append(f"{place}: cannot be read")
        return {}
    return {
        group: {name: value.strip() for name, value in reader.items(group) if value is not None}
        for group in reader.sections()
    }


def _service(found: Found) -> Iterator[tuple[str, str, str]]:
    """What PostgreSQL's service file says of the service that is named."""
    name = found.get("SERVICE")
    if not name:
        return
    system = Path(os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common")) / "pg_service.conf"
    places = [Path(os.environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf"), system]
    for place in places:
        groups = _read_ini(place, found)
        if name in groups:
            yield from ((key, value, f"{place} [{name}]") for key, value in groups[name].items())
            return
    found.problems.append(f"{found.parts['SERVICE'].origin}: no service of that name in {places[0]}")


def _pgpass(found: Found) -> str | None:
    """
    The password that .pgpass has for the warehouse, by libpq's rules: a file that others can read is not looked at.
    """
    place = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
    try:
        if not place.is_file() or (os.name == "posix" and place.stat().st_mode & 0o077):
            return None
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    wanted = (
        found.get("HOST") or "localhost",
        found.get("PORT", _PORTS["warehouse"]),
        found.get("DB"),
        found.get("USER"),
    )
    for line in lines:
        if line.startswith("#"):
            continue
        fields = [re.sub(r"\\(.)", r"\1", one) for one in re.split(r"(?<!\\):", line)]
        if len(fields) == 5 and all(one in ("*", value) for one, value in zip(fields, wanted, strict=False)):
            return fields[4]
    return None
