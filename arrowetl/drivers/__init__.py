"""
The one door to connectorx, mysql.connector, ADBC, psycopg and pgpq.

Nothing else imports them, and none of their exceptions pass: each becomes one of ours, without a password, a
statement's values or a cell's content in its text. May import `sql` and below. Each library is imported when the
first name that needs it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrowetl.drivers.adbc import PostgresArrow
    from arrowetl.drivers.connectorx import mute_panics, read_arrow
    from arrowetl.drivers.mysql import MySQL
    from arrowetl.drivers.pool import Pool
    from arrowetl.drivers.postgres import Postgres, can_copy, require_one_each
    from arrowetl.drivers.remedies import LOCAL_INFILE, READ_ONLY

__all__ = [
    "LOCAL_INFILE",
    "READ_ONLY",
    "MySQL",
    "Pool",
    "Postgres",
    "PostgresArrow",
    "can_copy",
    "mute_panics",
    "read_arrow",
    "require_one_each",
    "versions",
]

_MODULES = {
    "LOCAL_INFILE": "remedies", "READ_ONLY": "remedies", "MySQL": "mysql", "Pool": "pool", "Postgres": "postgres",
    "PostgresArrow": "adbc", "can_copy": "postgres", "mute_panics": "connectorx",
    "read_arrow": "connectorx", "require_one_each": "postgres",
}  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of the drivers, for `--version`."""
    from importlib import metadata

    packages = (
        "connectorx", "adbc-driver-postgresql", "pgpq", "psycopg", "mysql-connector-python", "pyarrow", "polars"
    )  # fmt: skip
    return {package: metadata.version(package) for package in packages}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"arrowetl.drivers.{_MODULES[name]}"), name)
    return found
