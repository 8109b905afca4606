"""
What each MySQL type becomes: in Arrow, at PostgreSQL, in a LOAD DATA file, in Parquet, behind a mask; and back.

A new type is a row in `rules` and in `mysql_types`; where PostgreSQL's is new too, a row in `postgres_types` and what
COPY is given of it in `to_postgres`. `nox -s types_page` writes the page.

Pure functions and one table of rules. May import `model`. Must not speak to a server or read a file.
"""
