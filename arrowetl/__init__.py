"""
arrowetl copies a MySQL or MariaDB database to PostgreSQL, and proves that every row arrived.

    import arrowetl

    with arrowetl.open() as etl:
        summary = etl.run(all=True)

Settings come from the environment (docs/reference/settings.md). `arrowetl.errors` has the tree of errors, whose root is
`arrowetl.ArrowetlError`.
"""

import os
from typing import TYPE_CHECKING, Any

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
    UsageError,
    ValidationError,
    VerificationError,
)
from arrowetl.errors import (
    EnvironmentError as EnvironmentError,
)

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from arrowetl.api import Etl
    from arrowetl.api import open as open

# Polars' allocator asks when it is imported, wherever that is; by default it never returns a page that it once had.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")

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
    "Etl",
    "UsageError",
    "ValidationError",
    "VerificationError",
    "__version__",
]
# Not in it are two names that would hide Python's own where somebody imports *: `arrowetl.open`, which users know, and
# `arrowetl.EnvironmentError`.


def __getattr__(name: str) -> Any:
    # `arrowetl --version` and the completion of words need none of what a run needs.
    if name not in ("Etl", "open"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from arrowetl import api

    return getattr(api, name)
