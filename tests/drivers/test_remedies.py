"""
Every error that a server can give us has a remedy of its own; the one for what nobody expected is for nothing else.
"""

from __future__ import annotations

import mysql.connector
import pytest

from arrowetl.drivers import remedies
from arrowetl.drivers.mysql import _mysql_error
from arrowetl.drivers.postgres import postgres_error
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.connection import Endpoint

SOURCE = Endpoint("source", "clinic", 3306, "opendental", "reader", "a secret")
WAREHOUSE = Endpoint("warehouse", "dw", 5432, "analytics", "loader", "a secret", "raw")

# By what our statements do: connect, SET, read catalogs, rows, sums and locks, CREATE, LOAD DATA, merge, RENAME, DROP.
OF_MYSQL = {
    "who may": (1044, 1045, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1524, 1525, 1820, 1862, 3032, 3118),
    "how many": (1040, 1203, 1226),
    "what is not there": (1049, 1051, 1054, 1072, 1109, 1146, 1412, 1615),
    "what cannot be read": (126, 127, 144, 145, 1016, 1017, 1033, 1034, 1035, 1194, 1195, 1459, 1707, 1812, 1814, 1932),
    "what is elsewhere": (1296, 1297, 1429, 1430, 1431, 1432),
    "who waits": (1015, 1099, 1100, 1205, 1206, 1213, 3058, 3572),
    "what takes too long": (1104, 1317, 1927, 1969, 3024),
    "room": (1021, 1026, 1030, 1037, 1038, 1041, 1114, 1135, 1153, 1301, 3675),
    "what is cut": (1158, 1159, 1160, 1161, 2006, 2013, 2055),
    "what an engine cannot hold": (1005, 1069, 1070, 1071, 1117, 1118, 1163, 1170, 1173, 1709, 1713, 3750),
    "what a server does not know": (1064, 1115, 1193, 1235, 1253, 1267, 1273, 1286, 1305, 1478, 4161),
    "values": (1048, 1062, 1136, 1261, 1262, 1263, 1264, 1265, 1292, 1300, 1364, 1366, 1406, 1411, 1690, 3140, 4025),
    "what is read only": (1036, 1148, 1223, 1290, 1792, 1836, 3948, 4166),
    "names that are taken": (1050, 1061),
    "topologies": (1785, 1786, 1787),
    "triggers": (1644,),
}
OF_POSTGRES = {
    "who may": ("28000", "28P01", "42501"),
    "what is not there": ("3D000", "3F000", "42P01", "42703", "42704"),
    "room": ("53100", "53200", "53300", "53400", "54000", "54001", "54011", "54023"),
    "who waits": ("40001", "40P01", "55P03", "55006"),
    "what takes too long": ("57014",),
    "what is cut": ("08000", "08003", "08006", "57P01", "57P02", "57P03", "57P04", "57P05"),
    "values": ("22001", "22003", "22007", "22008", "22021", "22P02", "22P03", "22P05", "22P06"),
    "constraints": ("23000", "23502", "23503", "23505", "23514", "23P01", "44000"),
    "what blocks the change": ("2BP01", "42P06", "42P07", "42P16", "42710", "42723", "42804", "42809", "42846"),
    "what is read only": ("25006", "25P02", "25P03", "25P04"),
    "what it does not know": ("0A000", "42601", "42883", "42P13", "55000"),
    "damage": ("58000", "58030", "F0000", "XX000", "XX001", "XX002"),
    "triggers": ("P0001",),
}


class _Error(Exception):
    def __init__(self, errno: int) -> None:
        super().__init__("words")
        self.errno, self.msg = errno, "words"


@pytest.mark.parametrize("code", [code for codes in OF_MYSQL.values() for code in codes])
def test_every_mysql_error_has_a_remedy(code: int) -> None:
    assert remedies.mysql(code) != remedies.UNEXPECTED
    for doing in ("connect", "query", "LOAD DATA"):
        remedy = _mysql_error(_Error(code), SOURCE, doing).remedy  # type: ignore[arg-type]
        assert remedy
        assert "{" not in remedy.replace("{exclude: true}", "")


@pytest.mark.parametrize("code", [code for codes in OF_POSTGRES.values() for code in codes])
def test_every_postgres_error_has_a_remedy(code: str) -> None:
    assert remedies.postgres(code) != remedies.UNEXPECTED
    for doing in ("connect", "query", "COPY"):
        remedy = postgres_error("ERROR:  words", code, WAREHOUSE, doing).remedy
        assert remedy
        assert "{" not in remedy.replace("{name: {type: text}}", "")


def test_unexpected_errors_get_the_generic_remedy() -> None:
    """Is reported as that, with where to look."""
    assert remedies.mysql(9999) == remedies.UNEXPECTED
    assert remedies.postgres("ZZ999") == remedies.UNEXPECTED
    assert remedies.postgres(None) == remedies.UNEXPECTED


@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        (1030, 'Got error 28 "No space left on device" from storage engine InnoDB', remedies.MYSQL[1021]),
        (1030, "Got error 176 'Read page with wrong checksum' from storage engine Aria", remedies.MYSQL[1194]),
        (1030, 'Got error 194 "Tablespace is missing for a table" from storage engine InnoDB', remedies.MYSQL[1812]),
        (1030, "Got error 9999 from storage engine", remedies.MYSQL[1030]),
        (1016, "Can't open file: './d/t.MYI' (errno: 24 \"Too many open files\")", remedies.mysql(1017, "errno: 23")),
        (1016, "Can't open file: './d/t.MYI' (errno: 145)", remedies.MYSQL[1194]),
        (1017, "Can't find file: './d/t' (errno: 2 \"No such file or directory\")", remedies.MYSQL[1812]),
        # The usual words of a proxy, and of a fault within the server: nothing is lost.
        (1105, "Unknown error", remedies.UNEXPECTED),
        (1815, "Internal error: something", remedies.UNEXPECTED),
    ],
)
def test_ambiguous_codes_get_a_cautious_remedy(code: int, said: str, remedy: str) -> None:
    """Nobody is reported to drop a table that a restart would mend."""
    assert remedies.mysql(code, said) == remedy


@pytest.mark.parametrize("code", [4031, 1927])
def test_a_session_ended_by_the_server_is_a_lost_connection(code: int) -> None:
    """Is lost, and opened again: not an error of the statement."""
    error = mysql.connector.DatabaseError(msg="The client was disconnected by the server", errno=code)

    assert isinstance(_mysql_error(error, SOURCE, "SELECT"), DatabaseConnectionError)
