"""
What we say: names and values quoted whatever they are, ranges half-open.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.catalog_values import PATIENT, column, fields, planned, table

from arrowetl import sql
from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Index, Partition, PublishedTable
from arrowetl.replica import replica_sql
from arrowetl.source import source_sql
from arrowetl.warehouse import warehouse_sql

COLLATIONS = {
    "utf8mb4_general_ci": "utf8mb4", "utf8mb4_bin": "utf8mb4", "utf8mb3_general_ci": "utf8mb3",
    "utf8mb3_bin": "utf8mb3", "latin1_swedish_ci": "latin1", "latin1_bin": "latin1", "latin1_general_ci": "latin1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "mysql", "postgres"),
    [
        ("PatNum", "`PatNum`", '"PatNum"'),
        ("a`b", "`a``b`", '"a`b"'),
        ('x"; DROP TABLE y', '`x"; DROP TABLE y`', '"x""; DROP TABLE y"'),
    ],
)
def test_names_are_quoted(name: str, mysql: str, postgres: str) -> None:
    """Always quoted, quotes doubled."""
    assert (sql.mysql_name(name), sql.postgres_name(name)) == (mysql, postgres)


@pytest.mark.parametrize(
    ("value", "mysql", "postgres"),
    [(None, "NULL", "NULL"), (7, "7", "7"), ("it's", "'it''s'", "'it''s'"), ("a\\", "'a\\\\'", "'a\\'")],
)
def test_literals_are_escaped_per_language(value: object, mysql: str, postgres: str) -> None:
    """A backslash escapes at MySQL, and is a letter at PostgreSQL."""
    assert (sql.mysql_literal(value), sql.postgres_literal(value)) == (mysql, postgres)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "ending"),
    [
        (Partition(0, None, None), "FROM `d`.`t`"),
        (Partition(0, None, 5), "FROM `d`.`t` WHERE `k` < 5"),
        (Partition(1, 5, 9), "FROM `d`.`t` WHERE `k` >= 5 AND `k` < 9"),
        (Partition(2, -9, None), "FROM `d`.`t` WHERE `k` >= -9"),
    ],
)
def test_partitions_are_half_open_ranges(part: Partition, ending: str) -> None:
    """Lower bound in, upper bound out."""
    assert source_sql.extract("d", "t", fields(column("k", "int(11)")), "k", part).endswith(ending)


def test_columns_are_selected_by_their_rules() -> None:
    """A date as a number, so that a zero one can be read; a number as it is."""
    statement = source_sql.extract(
        "d", "t", fields(column("d", "date"), column("n", "int(11)")), None, Partition(0, None, None)
    )

    assert statement == "SELECT `d` + 0 AS `d`, `n` AS `n` FROM `d`.`t`"


def test_load_data_converts_hex_and_bits() -> None:
    """Binary comes as hexadecimal, bits as numbers."""
    statement = replica_sql.load_data(
        "d", "s", fields(column("n", "int(11)"), column("b", "blob"), column("f", "bit(3)")), "/x", Flavour.MYSQL
    )

    assert statement.startswith("LOAD DATA LOCAL INFILE '/x' IGNORE INTO TABLE `d`.`s` CHARACTER SET utf8mb4 ")
    assert statement.endswith("(`n`, @c1, @c2) SET `b` = UNHEX(@c1), `f` = CAST(@c2 AS UNSIGNED)")


@pytest.mark.parametrize(
    ("charsets", "replica", "reported"),
    [
        (("utf8",), Flavour.MARIADB, "utf8"),
        (("utf8mb3", "utf8"), Flavour.MARIADB, "utf8"),
        (("utf8mb3", "utf8mb4"), Flavour.MARIADB, "utf8mb4"),
        (("latin1",), Flavour.MARIADB, "utf8mb4"),
        (("utf8",), Flavour.MYSQL, "utf8mb4"),
    ],
)
def test_the_spill_charset_follows_the_columns(charsets: tuple[str, ...], replica: Flavour, reported: str) -> None:
    """Of the columns' own character set, where MariaDB has nothing to convert then; MySQL 8 would warn of it."""
    texts = fields(*(column(f"c{i}", "text", charset=one) for i, one in enumerate(charsets)))

    assert f" CHARACTER SET {reported} " in replica_sql.load_data("d", "s", texts, "/x", replica)


def test_spills_with_json_are_utf8mb4() -> None:
    """Of no character set, the catalog says; and an emoji may be in it."""
    both = fields(column("n", "int(11)"), column("j", "json"))

    assert " CHARACTER SET utf8mb4 " in replica_sql.load_data("d", "s", both, "/x", Flavour.MARIADB)


def test_the_replica_table_has_columns_and_primary_key_only() -> None:
    """Every column as it is at the source, no AUTO_INCREMENT, the primary key and no other index yet."""
    plan = planned(
        table(
            "t",
            column("k", "bigint(20)", nullable=False, extra="auto_increment"),
            column("s", "varchar(9)", charset="utf8mb3", collation="utf8mb3_general_ci"),
            column("ts", "timestamp", nullable=False, extra="on update current_timestamp()"),
            key=("k",),
            indexes=(Index("PRIMARY", (("k", None),), True), Index("by s", (("s", 4),), False)),
        )
    )

    assert replica_sql.create_replica("d", "new", plan, Flavour.MARIADB, COLLATIONS) == (
        "CREATE TABLE `d`.`new` (`k` bigint(20) NOT NULL, "
        "`s` varchar(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci NULL, "
        "`ts` timestamp NOT NULL DEFAULT '1970-01-01 00:00:01', PRIMARY KEY (`k`)) "
        "ENGINE=InnoDB CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci "
        "/*!50709 ROW_FORMAT=DYNAMIC */ /*M!100202 ROW_FORMAT=DYNAMIC */"
    )
    assert replica_sql.add_indexes("d", "new", plan) == "ALTER TABLE `d`.`new` ADD INDEX `by s` (`s`(4))"


@pytest.mark.parametrize(
    ("charset", "collation", "there"),
    [
        ("utf8", "utf8_general_ci", "CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci"),
        ("utf8mb3", "utf8mb3_uca1400_ai_ci", "CHARACTER SET utf8mb3 COLLATE utf8mb3_bin"),
        ("utf8mb4", "utf8mb4_0900_as_cs", "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        ("latin1", "latin1_swedish_ci", "CHARACTER SET latin1 COLLATE latin1_swedish_ci"),
        ("klingon", "klingon_bin", "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    ],
)
def test_missing_collations_get_the_nearest_that_separates_keys(charset: str, collation: str, there: str) -> None:
    """The nearest it has; binary where the source shows more letters apart."""
    plan = planned(table("t", column("s", "varchar(9)", charset=charset, collation=collation)))

    assert f"`s` varchar(9) {there} NULL" in replica_sql.create_replica("d", "t", plan, Flavour.MARIADB, COLLATIONS)


def test_a_merge_writes_only_differing_rows() -> None:
    """Rows are compared as they are stored; the key is never updated."""
    there = PublishedTable((("PatNum", "bigint"), ("LName", "text")), ("PatNum",))
    differing, statements = (
        warehouse_sql.differing("raw", planned(PATIENT, there)),
        warehouse_sql.merge("raw", planned(PATIENT, there)),
    )

    assert "*<>" in differing
    assert statements["written"].endswith('ON CONFLICT ("PatNum") DO UPDATE SET "LName" = excluded."LName"')
    assert statements["deleted"].startswith('DELETE FROM ONLY "raw"."patient" t WHERE NOT EXISTS')


@pytest.mark.parametrize("length", [1, 37, 38, 46, 64])
def test_staging_names_fit_both_targets(length: int) -> None:
    """At most 63 bytes, reported apart by the whole name, and known as ours."""
    name, other = "t" * length, "t" * (length - 1) + "u"
    staging = sql.staging_name(name, "0123abcd")

    assert len(staging.encode()) <= 63
    assert staging.startswith(sql.STAGING)
    assert staging != sql.staging_name(other, "0123abcd")


@pytest.mark.parametrize(
    ("other_key", "updated", "inserted"),
    [
        (
            Index("name", (("LName", None),), unique=False),
            "UPDATE `d`.`patient` t JOIN `d`.`arrowetl_staging_0123abcd_patient` s ON t.`PatNum` = s.`PatNum` "
            "SET t.`PatNum` = s.`PatNum`, t.`LName` = s.`LName`",
            " s WHERE NOT EXISTS (SELECT 1 FROM `d`.`patient` t WHERE t.`PatNum` = s.`PatNum`)",
        ),
        (
            Index("name", (("LName", None),), unique=True),
            "DELETE t FROM `d`.`patient` t JOIN `d`.`arrowetl_staging_0123abcd_patient` s ON t.`PatNum` = s.`PatNum`",
            "FROM `d`.`arrowetl_staging_0123abcd_patient`",
        ),
    ],
    ids=["in place", "all out before they come in"],
)
def test_replica_rows_are_updated_in_place(other_key: Index, updated: str, inserted: str) -> None:
    """At the replica, where no second unique key may have changed workers among the rows."""
    plan = replace(planned(replace(PATIENT, indexes=(other_key,))), run="0123abcd")
    statements = replica_sql.merge_replica("d", plan, ("a", "b"), in_place=not other_key.unique)

    assert statements["updated"] == updated
    assert statements["inserted"].endswith(inserted)
    assert list(statements) == ["equal", "deleted", "updated", "inserted"]


def test_unique_keys_of_masked_columns_are_left_out() -> None:
    """They are the same more often."""
    unique = Index("name", (("LName", None),), unique=True)
    shown = planned(replace(PATIENT, indexes=(unique,)), columns={"LName": {"mask": "partial"}})
    hashed = planned(replace(PATIENT, indexes=(unique,)), columns={"LName": {"mask": "hash"}})

    assert replica_sql.add_indexes("d", "patient", shown) is None
    assert "UNIQUE INDEX `name`" in (replica_sql.add_indexes("d", "patient", hashed) or "")


def test_mysql_replicas_get_equivalent_types_and_keys() -> None:
    """A geomcollection is MariaDB's geometrycollection; what is unique by a hash is no index of MySQL's."""
    places = planned(table("t", column("p", "geomcollection"), flavour=Flavour.MYSQL))
    texts = planned(table("t", column("s", "text"), indexes=(Index("s", (("s", None),), unique=True, kind="HASH"),)))

    assert "`p` geometrycollection" in replica_sql.create_replica("d", "t", places, Flavour.MARIADB, COLLATIONS)
    assert "`p` geomcollection" in replica_sql.create_replica("d", "t", places, Flavour.MYSQL, COLLATIONS)
    assert "UNIQUE" in replica_sql.create_replica("d", "t", texts, Flavour.MARIADB, COLLATIONS, indexed=True)
    assert "UNIQUE" not in replica_sql.create_replica("d", "t", texts, Flavour.MYSQL, COLLATIONS, indexed=True)
    assert replica_sql.indexes_left_out(texts, Flavour.MARIADB) == []
    assert replica_sql.indexes_left_out(texts, Flavour.MYSQL) == [
        "its unique key s is not at the replica: MySQL has none over full texts"
    ]
