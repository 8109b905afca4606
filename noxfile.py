"""
Every job of the project; each installs what it needs. `nox -l` lists them.
"""

import json
import os
import subprocess

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

_MISSING_MARIADB = "import json; from arrowetl.sandbox import programs; print(json.dumps(programs.missing_mariadb()))"


def _install(session: nox.Session, *groups: str) -> None:
    development = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), *groups) if groups else []
    session.install("-e", ".[sandbox]", *development)


def _mariadb(session: nox.Session) -> None:
    """MariaDB's server comes from the system: install it where it is missing and we may."""
    missing = json.loads(session.run("python", "-c", _MISSING_MARIADB, silent=True) or "null")
    if missing is None:
        return
    command = missing.split()
    if not command or (command[0] == "sudo" and subprocess.run(["sudo", "-n", "true"], check=False).returncode):
        session.error(f"MariaDB's server is missing; install it with: {missing or 'your package manager'}")
    if "apt-get" in command:
        # A new machine knows of no package before its first update.
        session.run(*command[: command.index("apt-get") + 1], "update", "-qq", external=True)
    session.run(*command, external=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


@nox.session
def demo(session: nox.Session) -> None:
    """The main job, end to end, on servers of its own."""
    _install(session)
    _mariadb(session)
    session.run("arrowetl", "demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, by ruff."""
    _install(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, by mypy in its strict mode."""
    _install(session, "dev")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, on servers of their own."""
    _install(session, "dev")
    _mariadb(session)
    session.run("pytest", *session.posargs)
