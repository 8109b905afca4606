"""
Every job of the project; each installs what it needs. `nox -l` lists them.
"""

import os
import shlex
import shutil
import subprocess

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

_MARIADB_COMMAND = "from arrowetl.sandbox import programs; print(programs.mariadb_install_command() or '')"


def _install(session: nox.Session, *groups: str) -> None:
    development = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), *groups) if groups else []
    session.install("-e", ".[sandbox]", *development)


def _mariadb(session: nox.Session) -> None:
    """MariaDB's server comes from the system: install it where it is missing and we may."""
    places = os.pathsep.join(["/usr/sbin", "/usr/libexec", "/opt/homebrew/bin", os.environ.get("PATH", "")])
    if shutil.which("mariadbd", path=places):
        return
    command = shlex.split(session.run("python", "-c", _MARIADB_COMMAND, silent=True) or "")
    allowed = bool(command) and (
        command[0] != "sudo" or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    )
    if not allowed:
        session.error(
            "MariaDB's server is missing; install it with: " + (shlex.join(command) or "your package manager")
        )
    if command[-4:-2] == ["install", "-y"] or "apt-get" in command:
        session.run(*command[: command.index("apt-get") + 1], "update", "-qq", external=True)
    session.run(*command, external=True, env={"DEBIAN_FRONTEND": "noninteractive"})


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
