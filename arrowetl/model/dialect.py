"""
What the MySQL family calls things: which of the two a server is, its integers, its geometry types, its indexes.

Constants, and a noun; `drivers` asks the server which it is.
"""

from __future__ import annotations

from enum import StrEnum

INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
"""MySQL's bare integer types."""

GEOMETRIES = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection", "geomcollection",
)  # fmt: skip
"""MySQL's bare geometry types."""

REPLICATED_INDEXES = ("BTREE", "HASH", "FULLTEXT")
"""Kinds of indexes that a replica gets: a spatial one needs what its column does not promise."""


class Flavour(StrEnum):
    """Which family a MySQL-speaking server belongs to."""

    MYSQL = "MySQL"
    MARIADB = "MariaDB"
