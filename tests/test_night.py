"""
Every other night: what changed moves, and only that.
"""

from __future__ import annotations

from conftest import Clinic
from independent import differences

CREATE = """
CREATE TABLE patient (PatNum bigint NOT NULL, LName varchar(100), Balance double, Birth date,
  DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (PatNum))
  ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO patient SELECT seq, CONCAT('name ', seq), seq / 7, '2000-01-01', '2020-01-01' FROM seq_1_to_2000
"""


def test_smoke(clinic: Clinic) -> None:
    clinic.create(CREATE)
    import time

    time.sleep(2.1)
    first = clinic.run()
    print(first["tables"][0])
    second = clinic.run()
    print(second["tables"][0])
    clinic.create(
        "UPDATE patient SET LName='x' WHERE PatNum IN (5, 77);\nDELETE FROM patient WHERE PatNum = 9;\nINSERT INTO patient VALUES (-3, 'new', 1, NULL, NOW())"
    )
    third = clinic.run()
    print(third["tables"][0])
    print(differences(clinic.sandbox, "patient"))
    clinic.warehouse_execute('DELETE FROM raw.patient WHERE "PatNum" = 10')
    clinic.create("UPDATE patient SET LName='x' WHERE PatNum IN (6, 78)")
    third = clinic.run()
    print(third["tables"][0])
    print(differences(clinic.sandbox, "patient"))
    clinic.warehouse_execute("DROP TABLE raw.patient")
    third = clinic.run()
    print(third["tables"][0])
    print(differences(clinic.sandbox, "patient"))
    print(clinic.run("--all", "--from", "replica")["tables"][0])
    assert 0
