"""
What to do about a server's error: a table for each language, by the server's own codes.

Every code that our statements can meet has its own remedy; the rest gets the
generic one, for an unexpected error. `mysql`, `connectorx` and `postgres`
ask; `{variables}` and `{database}` are filled in there.
"""

from __future__ import annotations

import re

LOCAL_INFILE = "run SET GLOBAL local_infile = 1 there as an administrator, and put it into the server's configuration"
_OPTION = "the server runs with the option that its message names, and refuses this because of it: take it off there"
READ_ONLY = "run SET GLOBAL read_only = 0 there as an administrator, or name a server that is no read-only one"
UNREACHABLE = "check that the server runs and can be reached from here, and {variables}_HOST and _PORT"

TLS = "turn on TLS at the server, with a certificate that holds; or set {variables}_SSL_MODE to what it offers"
CLEAR = (
    "let the connection be encrypted: turn on TLS at the server, and set {variables}_SSL_MODE to required; or give the "
    "account a plugin that sends no password (mysql_native_password, ed25519; scram-sha-256 in pg_hba.conf)"
)
LOST = (
    f"{UNREACHABLE}; where it is the same table each time, raise max_allowed_packet there: a larger row "
    "ends the session"
)
_REPAIR = "have it repaired there, by an administrator: CHECK TABLE, REPAIR TABLE"
_LOST = (
    "its rows cannot be read any more: restore it from a backup, or drop it, at the server; or exclude it in "
    "arrowetl.yml"
)
_DISK_SPACE = "free space on the server's disk, or raise the limit on its table space"
_ENGINE = "see the server's own log: its storage engine failed, and the message says by which error of its own"
_FILES = "raise open_files_limit at the server, or table_open_cache with it"
_MEMORY = "give the server more memory, or lower --max-workers"
_CONNECTIONS = "lower --max-workers, or raise max_connections, or the account's own limit, at the server"
_MEANWHILE = "run again: the table was altered, or dropped, during the load"
_AGAIN = "run again when the lock is free; SHOW PROCESSLIST at the server shows who holds it"
_OTHER_SERVER = "check that the server can reach the server of the remote table, or exclude the table in arrowetl.yml"
_KEY_NEEDED = (
    "give the table a primary key at the source; or turn off innodb_force_primary_key, or sql_require_primary_key, at "
    "the replica; --to warehouse loads it without one"
)
_WIDE = (
    "exclude in arrowetl.yml the columns, or the index, that are too wide for the replica's engine, or that use names "
    "of its own (DB_ROW_ID, FTS_DOC_ID, …); or load the table with --to warehouse"
)
_LIMIT = "raise settings.statement_seconds in arrowetl.yml, or see what keeps the server busy"
_UNSUITED = "use a replica that knows what the source does: the same flavour, and no older a version"
_VALUE = (
    "compare the table's definition at both servers: collations, the labels of an enum (one that is empty, or of no "
    "character set), the digits of a number; where they are alike, leave the column out with "
    "{{exclude: true}} in arrowetl.yml until they are alike"
)

MYSQL: dict[int, str] = {
    1044: "grant the account its privileges on {database}",
    1045: "check {variables}_USER and _PASSWORD, and from which hosts the account may come",
    1049: "check {variables}_DB; the database must exist",
    **dict.fromkeys((1142, 1143, 1227, 1370), "grant the account that privilege on {database}"),
    **dict.fromkeys((1040, 1203, 1226), _CONNECTIONS),
    **dict.fromkeys((126, 127, 144, 145, 1034, 1035, 1194, 1195, 1459, 1707), _REPAIR),
    **dict.fromkeys((1016, 1017, 1018, 1033, 1812, 1814, 1932, 1808, 1877), _LOST),
    **dict.fromkeys((1021, 1114, 1026, 28, 3675), _DISK_SPACE),
    1030: _ENGINE,
    **dict.fromkeys((1037, 1038, 1041, 1135), _MEMORY),
    **dict.fromkeys((1051, 1054, 1109, 1146, 1412, 1615, 1072), _MEANWHILE),
    **dict.fromkeys((1015, 1205, 1206, 1213, 1099, 1100, 3058, 3572), _AGAIN),
    **dict.fromkeys((1317, 3024, 1969, 3170), _LIMIT),
    **dict.fromkeys((1158, 1159, 1160, 1161, 1927, 4031), UNREACHABLE),
    **dict.fromkeys((2006, 2013, 2055), LOST),
    **dict.fromkeys((1429, 1430, 1431, 1432, 1297, 1296), _OTHER_SERVER),
    **dict.fromkeys((1173, 3750), _KEY_NEEDED),
    **dict.fromkeys((1005, 1070, 1071, 1117, 1118, 1069, 1709, 1713, 1163, 1170), _WIDE),
    **dict.fromkeys((1115, 1273, 1286, 1235, 1253, 1267, 1064, 1193, 1193, 1305, 1478, 4161), _UNSUITED),
    **dict.fromkeys(
        (1048, 1062, 1136, 1138, 1261, 1262, 1263, 1264, 1265, 1292, 1300, 1364, 1366, 1367, 1406, 1411,
         1690, 3140, 4025),
        _VALUE,
    ),
    **dict.fromkeys((1148, 3948, 4166), LOCAL_INFILE),
    **dict.fromkeys((1036, 1223, 1792, 1836), READ_ONLY),
    1290: _OPTION,
    **dict.fromkeys(
        (1216, 1217, 1451, 1452), "a foreign key at the replica forbids the source's rows: drop it at the replica"
    ),
    1168: "see that all tables that it is made of are there, are MyISAM's and have its columns; or exclude it",
    **dict.fromkeys((1050, 1061), "run again: something of that name was left there; if it stays, drop it"),
    2026: TLS,
    2061: CLEAR,
    1104: "raise max_join_size, or set sql_big_selects = 1, at the server",
    1153: "raise max_allowed_packet at the server",
    1301: "raise max_allowed_packet at the server",
    **dict.fromkeys((1785, 1786, 1787), "let the replica be no member of a GTID topology (enforce_gtid_consistency)"),
    **dict.fromkeys(
        (1525, 1524, 1251, 3118, 1820, 1862, 3032),
        "check the account at the server: its plugin, its password's age, and that it is not locked",
    ),
    **dict.fromkeys((1130, 1129), "let the account come from this host: GRANT … TO user@host, or FLUSH HOSTS"),
    1644: "see the trigger at the server, and take it off the table",
}  # fmt: skip

_EXISTS = "another object at the warehouse has that name: rename or drop it there, and run again"
_PRIVILEGE = (
    "grant the account that privilege; where the message mentions row-level security, ALTER TABLE … NO FORCE ROW LEVEL "
    "SECURITY"
)
_HELD = "run again when the lock is free; pg_stat_activity at the warehouse shows who holds it"
_DAMAGED = "see the warehouse's log: an index or a table of its own is damaged (REINDEX, or a backup)"
_VIEWS_BLOCK = (
    "the table at the warehouse has something that does not fit the source's columns as they are now: an index, a "
    "check, a default, an identity, a rule or a policy; psql's \\d shows it: drop it, and run again"
)
_DIFFERENT = "use PostgreSQL 13 or later as the warehouse"

POSTGRES: dict[str, str] = {
    "28P01": "check {variables}_USER and _PASSWORD",
    "28000": "check {variables}_USER, and pg_hba.conf at the server",
    "3D000": "check {variables}_DB; the database must exist",
    "3F000": "check {variables}_SCHEMA; the schema must exist, or the account may create it",
    "42501": _PRIVILEGE,
    "53300": "lower --max-workers, or raise max_connections at the server",
    "23": "a constraint at the warehouse forbids the source's rows: drop it there",
    "2BP01": "drop what depends on it, which the message names, run again, and recreate that; a key's dates can be "
    "kept as type: text",
    "53100": "free space on the server's disk",
    "53200": "give the server more memory, or lower --max-workers; the limit on locks is max_locks_per_transaction",
    "53400": "raise the limit at the server that its message names (temp_file_limit, …)",
    "54000": "load its widest columns as texts, which are stored outside of the row: in arrowetl.yml columns: "
    "{{name: {{type: text}}}}; or exclude some",
    "54001": "raise max_stack_depth at the server, or exclude some columns",
    "54011": "dropped columns count as well, and PostgreSQL takes 1,600: drop the table at the "
    "warehouse, with the views on it, and run again: it is recreated",
    "54023": "exclude some columns: PostgreSQL takes no more at once",
    "25006": "name a server that can be written, and no standby: {variables}_HOST",
    "55P03": _HELD,
    "55006": _HELD,
    "40": "run again: another session changed the same rows",
    "57014": "a limit at the server, or a person, ended the statement: see statement_timeout there, and run again",
    "57P": UNREACHABLE,
    "08": UNREACHABLE,
    "42P07": _EXISTS,
    "42710": _EXISTS,
    "42P06": _EXISTS,
    "42723": _EXISTS,
    "42P01": "run again: it was dropped at the warehouse meanwhile",
    "42703": "run again: it was altered at the warehouse meanwhile",
    "42704": "run again: it was dropped at the warehouse meanwhile",
    "42804": _VIEWS_BLOCK,
    "42883": _VIEWS_BLOCK,
    "428C9": _VIEWS_BLOCK,
    "42701": "two names become one at the warehouse: rename a column at the source, or leave it out with "
    "in arrowetl.yml columns: {{name: {{exclude: true}}}}",
    "0A000": _VIEWS_BLOCK,
    "42P16": "drop the table's views, run again, and recreate them; a table that inherits from another follows only "
    "once it is detached from that",
    "42809": "rename or drop the object of that name at the warehouse: it is no plain table; or detach it",
    "42846": "drop the column at the warehouse, with the views on it, and run again",
    "22": "load the column unchanged: in arrowetl.yml columns: {{name: {{type: text}}}}, or bytea for texts",
    "0A": _DIFFERENT,
    "42": _DIFFERENT,
    "55": "see what else is done to the table at the warehouse, and run again",
    "25": "run again: another session ended the transaction",
    "44": "a check of a view at the warehouse forbids it: drop that",
    "58": "see the warehouse's log: its disk, or its system, failed",
    "F0": "see the warehouse's log: its configuration is damaged",
    "P0001": "see the trigger at the warehouse, and remove it from the table",
    "XX": _DAMAGED,
}

UNEXPECTED = "see the server's own log; arrowetl does not know this error, and what is said there is worth a report"


# What a storage engine or the system says behind a code that is said of many things.
_OF_MANY_THINGS = (1016, 1017, 1018, 1030)
_WITHIN = re.compile(r"(?:errno|error):? *(\d+)", re.IGNORECASE)
_INNER: dict[int, str] = {
    **dict.fromkeys((28, 122, 135, 136, 137), _DISK_SPACE),
    **dict.fromkeys((23, 24), _FILES),
    **dict.fromkeys((12, 128, 139), _MEMORY),
    **dict.fromkeys((126, 127, 144, 145, 176), _REPAIR),
    **dict.fromkeys((2, 155, 194), _LOST),
}


def mysql(code: int | None, said: str = "") -> str:
    """
    By the code; and where that is said of many things, by the error that the message has within.

    >>> mysql(1030, 'Got error 28 "No space left on device" from storage engine') == MYSQL[1021]
    True
    >>> mysql(1290, "running with the --read-only option so it cannot execute this statement") == READ_ONLY
    True
    """
    if code == 1290 and "read-only" in said.replace("_", "-"):
        return READ_ONLY
    if code in _OF_MANY_THINGS and (inner := _WITHIN.search(said)):
        return _INNER.get(int(inner[1]), MYSQL[code])
    return MYSQL.get(code or 0, UNEXPECTED)


def postgres(code: str | None) -> str:
    """By the full code, else by the longest prefix of it that has a remedy."""
    for length in (5, 3, 2):
        if words := POSTGRES.get((code or "")[:length]):
            return words
    return UNEXPECTED
