"""
A table of InnoDB whose rows come and go while it is read, and whose number of rows never moves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support.clinic import Clinic
from support.independent import differences

from arrowetl import drivers

ROWS = 20_000


@contextmanager
def churn(clinic: Clinic) -> Iterator[None]:
    """The oldest ten rows go and ten new ones come, in one transaction, again and again."""
    stop = threading.Event()

    def work() -> None:
        session = drivers.MySQL(clinic.sandbox.admin("source"))
        first = 1
        while not stop.is_set():
            session.execute("START TRANSACTION")
            session.execute(f"DELETE FROM queue WHERE Num < {first + 10}")
            new = ", ".join(f"({first + ROWS + n}, REPEAT('x', 400))" for n in range(10))
            session.execute(f"INSERT INTO queue VALUES {new}")
            session.execute("COMMIT")
            first += 10
        session.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_busy_queue_is_loaded_as_read_and_settles_later(clinic: Clinic) -> None:
    """Ranges read at different times have more rows than the table ever had: that is reported, and is no failure."""
    clinic.tables_file.write_text("tables: {queue: {batch_size: 500}}\n")
    clinic.create(
        "CREATE TABLE queue (Num bigint PRIMARY KEY, Note varchar(400)) ENGINE=InnoDB;\n"
        f"INSERT INTO queue SELECT seq, REPEAT('x', 400) FROM seq_1_to_{ROWS}"
    )
    with churn(clinic):
        (during,) = clinic.run("--all", "--max-workers", "1")["tables"]
    (after,) = clinic.run()["tables"]

    assert (during["status"], during["error"]) == ("succeeded", None)
    assert during["settled"] is False
    assert during["rows_extracted"] > ROWS
    assert after["error"] is None
    assert differences(clinic.sandbox, "queue") == ([], {})
