"""
Three tables that must agree with each other: patients, what was done for them, and what they paid.
"""

from __future__ import annotations

import random
from typing import Any

from support.clinic import Clinic
from support.independent import differences

TOGETHER = ("run", "--all", "--publish", "together")
TABLES = ("patient", "procedurelog", "payment")
FULL_TABLES: dict[str, Any] = {name: {"extraction_strategy": "full_table"} for name in TABLES}
PRACTICE = """
CREATE TABLE patient (PatNum bigint NOT NULL, LName varchar(50) NOT NULL, Owes bigint NOT NULL, PRIMARY KEY (PatNum))
  ENGINE=MyISAM DEFAULT CHARSET=utf8;
CREATE TABLE procedurelog (ProcNum bigint NOT NULL, PatNum bigint NOT NULL, Fee bigint NOT NULL, Note varchar(200),
  PRIMARY KEY (ProcNum), KEY (PatNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
CREATE TABLE payment (PayNum bigint NOT NULL, PatNum bigint NOT NULL, Amount bigint NOT NULL, PRIMARY KEY (PayNum),
  KEY (PatNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO patient SELECT seq, CONCAT('name ', seq), 0 FROM seq_1_to_2000;
INSERT INTO procedurelog SELECT seq, 1 + seq MOD 2000, seq MOD 300, REPEAT('n', seq MOD 90) FROM seq_1_to_20000;
INSERT INTO payment SELECT seq, 1 + seq MOD 2000, seq MOD 100 FROM seq_1_to_6000
"""
# What each patient owes is what was done less what was paid: it holds of any one time of the source.
SETTLE = """
UPDATE patient SET Owes =
  (SELECT COALESCE(SUM(Fee), 0) FROM procedurelog p WHERE p.PatNum = patient.PatNum)
  - (SELECT COALESCE(SUM(Amount), 0) FROM payment p WHERE p.PatNum = patient.PatNum)
"""


def work(clinic: Clinic, number: int, rng: random.Random) -> None:
    """A day: patients come and go with what was done for them, others are seen again, and pay."""
    deleted, new = rng.randrange(40), 10_000 * number
    clinic.create(
        f"DELETE FROM patient WHERE PatNum MOD 40 = {deleted};\n"
        f"DELETE FROM procedurelog WHERE PatNum MOD 40 = {deleted};\n"
        f"DELETE FROM payment WHERE PatNum MOD 40 = {deleted};\n"
        f"INSERT INTO patient SELECT {new} + seq, 'new', 0 FROM seq_1_to_150;\n"
        f"INSERT INTO procedurelog SELECT {new}00 + seq, {new} + 1 + seq MOD 150, seq MOD 70, 'x' FROM seq_1_to_900;\n"
        f"INSERT INTO payment (PayNum, PatNum, Amount) SELECT {new}00 + seq, {new} + 1 + seq MOD 150, seq MOD 50 "
        "FROM seq_1_to_200;\n"
        f"UPDATE procedurelog SET Fee = Fee + 7 WHERE ProcNum MOD 100 = {rng.randrange(100)}"
    )
    clinic.create(SETTLE)


def different(clinic: Clinic) -> list[str]:
    return [problem for name in TABLES for problem in differences(clinic.sandbox, name)[0]]
