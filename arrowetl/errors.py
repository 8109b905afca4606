"""
Every kind of failure, as one tree with an exit code on each branch.

    ArrowetlError                       1   all of them
    ├── UsageError                      2   a name that is not there, a choice that makes no sense
    ├── ConfigurationError              3   settings or tables.yml; all problems at once
    │   ├── EnvironmentError            3   ETL_ENVIRONMENT or a variable
    │   └── ValidationError             3   tables.yml
    ├── DatabaseError                   4   a server
    │   ├── DatabaseConnectionError     4   cannot be reached, or refuses
    │   ├── DatabaseQueryError          4   refused a statement
    │   └── DatabaseTransactionError    4   a commit failed
    │       ├── LockedError             6   another run holds the lock
    │       └── LockLostError           4   the run's own lock was lost
    ├── Interrupted                   130   somebody asked the run to stop
    └── DataError                       1   rows
        ├── DataExtractionError         1   could not be read exactly
        ├── DataLoadingError            1   could not be written exactly
        └── VerificationError           5   the servers' rows differ

A message says what happened, to what, what was found; `remedy` says what to
do about it. Neither holds a password or a value of a row. A driver's own
exception is the cause (`raise … from`), never the text; `drivers` makes them.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


def indented(text: str) -> str:
    """So that no line of it but the first, one of a name's own included, looks like one of arrowetl's."""
    return text.replace("\n", "\n  ")


class ArrowetlError(Exception):
    """
    Something arrowetl could not do; the branch says what kind.
    """

    exit_code = 1
    worker: str | None = None
    """Of a cluster, that it happened to."""
    target: str | None = None
    """The target that failed, where it was one of them."""
    transient = False
    """Whether it may well go by itself: the same again may succeed."""
    slug = "failed"
    """What happened, for programs: finer than the class where one was given."""

    def __init__(
        self, message: str, remedy: str | None = None, transient: bool | None = None, slug: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if slug is not None:
            self.slug = slug
        if transient is not None:
            self.transient = transient

    def __reduce__(self) -> tuple[object, ...]:
        # Those of worker processes come home pickled.
        return type(self), (self.message, self.remedy), self.__dict__

    def __str__(self) -> str:
        if self.remedy is None:
            return self.message
        return self.message + "\n  " + indented(self.remedy)

    @property
    def kind(self) -> str:
        return type(self).__name__


class UsageError(ArrowetlError):
    slug = "usage"
    exit_code = 2


class ConfigurationError(ArrowetlError):
    slug = "configuration"
    exit_code = 3


class EnvironmentError(ConfigurationError):
    slug = "settings"


class ValidationError(ConfigurationError):
    slug = "invalid_file"


class DatabaseError(ArrowetlError):
    slug = "database"
    exit_code = 4


class DatabaseConnectionError(DatabaseError):
    slug = "unreachable"
    transient = True


class DatabaseQueryError(DatabaseError):
    """
    A server refused a statement. `code` is the server's own: MySQL's error
    number, or PostgreSQL's SQLSTATE; `refused` the row (from 0) and, where it
    was one value, the column that a COPY stumbled over; `said` its own words.
    """

    slug = "statement_refused"

    def __init__(
        self,
        message: str,
        remedy: str | None = None,
        code: int | str | None = None,
        refused: tuple[int, str | None] | None = None,
        said: str = "",
        transient: bool | None = None,
    ) -> None:
        super().__init__(message, remedy, transient)
        self.code = code
        self.refused = refused
        self.said = said


class DatabaseTransactionError(DatabaseError):
    slug = "transaction_failed"


class LockedError(DatabaseTransactionError):
    """Another run is at work."""

    slug = "busy"
    exit_code = 6


class LockLostError(DatabaseTransactionError):
    """
    The run no longer holds its lock: it may switch or record nothing
    from then on.
    """

    slug = "lock_lost"


class Interrupted(ArrowetlError):
    slug = "interrupted"
    exit_code = 130


class DataError(ArrowetlError):
    slug = "data"
    exit_code = 1


class DataExtractionError(DataError):
    slug = "not_read"


class DataLoadingError(DataError):
    slug = "not_loaded"


class KeyNotHeldError(DataLoadingError):
    """
    The primary key's values cannot be kept distinct, or cannot be kept, at the
    warehouse. The caller loads the table without the key.
    """

    slug = "key_not_held"


class OutOfStepError(DataLoadingError):
    """
    The warehouse's table is not what was recorded of it: what changed would not
    make it right. The caller has it take everything from the replica.
    """

    slug = "warehouse_changed"


class ReplicaBehindError(DataLoadingError):
    """
    The changed rows cannot be written to the replica row by row: its table is
    not as recorded, or has keys that the source no longer has. The caller
    recreates it.
    """

    slug = "replica_changed"


class StagingLostError(DataLoadingError):
    """
    The warehouse crashed after rows were staged, and lost them. The caller
    plans and stages the table again.
    """

    slug = "staging_lost"

    transient = True


class WithheldError(DataLoadingError):
    """Nothing is wrong with the table: it is not published, since another failed."""

    slug = "withheld"


WITHHELD = WithheldError.__name__
"""As documents and records have it."""


class VerificationError(DataError):
    slug = "differs"
    exit_code = 5


@contextmanager
def at(target: str) -> Iterator[None]:
    """Errors in the block name that target."""
    try:
        yield
    except ArrowetlError as error:
        error.target = error.target or target
        raise


def together(problems: Sequence[DataError]) -> DataError:
    """Several problems of one table as one; there is one at least."""
    if len(problems) == 1:
        return problems[0]
    remedies = "\n".join(dict.fromkeys(problem.remedy for problem in problems if problem.remedy))
    return DataError("\n".join(problem.message for problem in problems), remedies or None)


def unexpected(table: str, error: Exception) -> DataError:
    """A bug: what was raised, and the line that raised it; not its text, which might hold a row's values."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} at {frame.filename.replace(chr(92), '/').rpartition('/')[2]}:{frame.lineno}"
    remedy = "please report it; --debug shows where it was raised"
    internal = DataError(f"{table}: internal error ({place})", remedy, slug="internal")
    internal.__cause__ = error
    return internal


def traced(error: BaseException) -> str:
    """Where an error was raised, and what caused it; of exceptions that are not ours no text: it may hold a value."""
    chain, words = list[BaseException](), list[str]()
    next_: BaseException | None = error
    while next_ is not None and next_ not in chain:
        chain.append(next_)
        next_ = next_.__cause__ or next_.__context__
    for one in reversed(chain):
        words += [line.rstrip() for line in traceback.format_tb(one.__traceback__)]
        words.append(f"{type(one).__name__}" + (f": {one}" if isinstance(one, ArrowetlError) else ""))
    return "\n".join(words)


def as_arrowetl_error(name: str, error: Exception) -> ArrowetlError:
    """Any exception as the failure of a table, or of a clinic: a bug fails one table, and not the run."""
    return error if isinstance(error, ArrowetlError) else unexpected(name, error)


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """
    The known names most like one, to be written after it; empty where none is like it.

    >>> did_you_mean("patnum", ["PatNum", "PatStatus"])
    ' (did you mean PatNum?)'
    """
    by_lower = {one.lower(): one for one in known}
    hints = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)
    return f" (did you mean {', '.join(by_lower[one] for one in hints)}?)" if hints else ""


def join_problems(problems: list[str]) -> str:
    """Several problems as one message."""
    word = "problem" if len(problems) == 1 else "problems"
    return f"{len(problems)} {word}\n  " + "\n  ".join(problems)
