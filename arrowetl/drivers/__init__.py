"""
The one door to connectorx, mysql.connector, ADBC, psycopg and pgpq.

Nothing else imports them, and none of their exceptions pass: each becomes one
of ours, without a password, a statement's values or a cell's content in its
text. The edge (`source`, `replica`, `warehouse`, `ledger`) speaks through the
classes here; what it says comes from `sql`.
"""

from importlib import metadata

from arrowetl.drivers.adbc import PostgresArrow
from arrowetl.drivers.connectorx import mute_panics, read_arrow
from arrowetl.drivers.mysql import MySQL
from arrowetl.drivers.pool import Pool
from arrowetl.drivers.postgres import Postgres, can_copy, require_one_each
from arrowetl.drivers.remedies import LOCAL_INFILE, READ_ONLY


def versions() -> dict[str, str]:
    """The versions of what arrowetl stands on, for `--version`."""
    packages = (
        "connectorx",
        "adbc-driver-postgresql",
        "pgpq",
        "psycopg",
        "mysql-connector-python",
        "pyarrow",
        "polars",
    )
    return {package: metadata.version(package) for package in packages}


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
