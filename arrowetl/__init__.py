"""
arrowetl carries a MySQL or MariaDB database into a MySQL replica and a PostgreSQL warehouse.

    import arrowetl

    with arrowetl.open() as etl:
        summary = etl.run(all=True)

Settings come from the environment (README, Configure). Errors are one tree,
`arrowetl.ArrowetlError`, drawn in `arrowetl.errors`.
"""

from arrowetl.workers import memory  # noqa: F401 - before Polars, whose allocator it tells

# isort: split

from arrowetl._version import __version__
from arrowetl.api import Etl, open
from arrowetl.errors import (
    ArrowetlError,
    ConfigurationError,
    DatabaseConnectionError,
    DatabaseError,
    DatabaseQueryError,
    DatabaseTransactionError,
    DataError,
    DataExtractionError,
    DataLoadingError,
    EnvironmentError,
    UsageError,
    ValidationError,
    VerificationError,
)

__all__ = [
    "ArrowetlError",
    "ConfigurationError",
    "DataError",
    "DataExtractionError",
    "DataLoadingError",
    "DatabaseConnectionError",
    "DatabaseError",
    "DatabaseQueryError",
    "DatabaseTransactionError",
    "EnvironmentError",
    "Etl",
    "UsageError",
    "ValidationError",
    "VerificationError",
    "__version__",
    "open",
]
