"""
The tracking tables as they are made: at the replica in MySQL's words, at the warehouse in PostgreSQL's.

Pure. What is written into them is in `state_sql`, `history_sql` and `receipt_sql`.
A column is written down once, in the statement that makes its table: a table that lacks it, a
predecessor's or an earlier version's, gets it (`missing_columns`), and keeps its rows.
"""

import re
from collections.abc import Collection

REPLICA_TABLES = {
    "etl_copy_status": """
CREATE TABLE IF NOT EXISTS {table} (
    id INT AUTO_INCREMENT PRIMARY KEY,
    table_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    last_copied TIMESTAMP NULL DEFAULT NULL,
    last_primary_value VARCHAR(255) NULL,
    primary_column_name VARCHAR(255) NULL,
    rows_copied BIGINT DEFAULT 0,
    copy_status VARCHAR(50) DEFAULT 'pending',
    _checked_at TIMESTAMP NULL DEFAULT NULL,
    rows_total BIGINT NULL,
    run_id VARCHAR(64) NULL,
    version VARCHAR(96) NULL,
    as_of TEXT NULL,
    UNIQUE KEY table_name (table_name(190))
) ENGINE=InnoDB""",
    "etl_partition_status": """
CREATE TABLE IF NOT EXISTS {table} (
    table_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    plan VARCHAR(64) NOT NULL,
    lower_key VARCHAR(32) NULL,
    upper_key VARCHAR(32) NULL,
    token VARCHAR(64) CHARACTER SET latin1 NOT NULL,
    rows_staged BIGINT NOT NULL,
    coerced TEXT NULL,
    execution VARCHAR(64) NULL,
    UNIQUE KEY token (token),
    KEY table_name (table_name(190))
) ENGINE=InnoDB""",
    "etl_run_lock": """
CREATE TABLE IF NOT EXISTS {table} (
    number SMALLINT PRIMARY KEY,
    run VARCHAR(64) CHARACTER SET latin1 NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    taken_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE=InnoDB""",
}
"""By name; `{table}` is its quoted place."""

WAREHOUSE_TABLES = {
    "etl_load_status": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_load_status (
    id serial PRIMARY KEY,
    table_name varchar(255) NOT NULL UNIQUE,
    last_primary_value varchar(255),
    primary_column_name varchar(255),
    rows_loaded bigint DEFAULT 0,
    load_status varchar(50) DEFAULT 'pending',
    _loaded_at timestamp,
    _checked_at timestamp,
    rows_total bigint,
    run_id varchar(64),
    coerced jsonb,
    version varchar(64),
    as_of jsonb
)""",
    "etl_transform_status": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_transform_status (
    id serial PRIMARY KEY,
    table_name varchar(255) NOT NULL UNIQUE,
    last_transformed timestamp NOT NULL DEFAULT '1970-01-01 00:00:01',
    last_primary_value varchar(255),
    primary_column_name varchar(255),
    rows_transformed bigint DEFAULT 0,
    transform_status varchar(50) DEFAULT 'pending',
    _transformed_at timestamp
)""",
    "etl_partition_status": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_partition_status (
    table_name varchar(255) NOT NULL,
    plan varchar(64) NOT NULL,
    lower_key varchar(32),
    upper_key varchar(32),
    token varchar(64) NOT NULL,
    rows_staged bigint NOT NULL,
    coerced text,
    execution varchar(64),
    UNIQUE (token)
)""",
    # Unlogged, as the staging it describes: a server that crashed has emptied both.
    "etl_staging_status": """
CREATE UNLOGGED TABLE IF NOT EXISTS {namespace}.etl_staging_status (
    table_name varchar(255) PRIMARY KEY,
    prepared_at timestamptz NOT NULL DEFAULT now()
)""",
    "etl_run_lock": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_run_lock (
    number smallint PRIMARY KEY,
    run varchar(64) NOT NULL,
    run_id varchar(64) NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
)""",
    "etl_run_history": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_run_history (
    run_id varchar(64) PRIMARY KEY,
    environment varchar(32) NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    exit_code integer,
    tables integer,
    failed integer,
    rows_extracted bigint,
    bytes_extracted bigint,
    way varchar(64),
    pace jsonb,
    planned jsonb,
    document jsonb,
    published varchar(64)
)""",
    "etl_table_history": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_table_history (
    run_id varchar(64) NOT NULL,
    table_name varchar(255) NOT NULL,
    mode varchar(32) NOT NULL,
    status varchar(32) NOT NULL,
    started_at timestamptz NOT NULL,
    seconds double precision,
    partitions integer,
    rows_extracted bigint,
    rows_inserted bigint,
    rows_updated bigint,
    rows_deleted bigint,
    bytes_extracted bigint,
    coerced jsonb,
    settled boolean,
    verdict varchar(32),
    error text,
    reason text,
    rows_planned bigint,
    seconds_planned double precision,
    journey varchar(32),
    flags jsonb,
    outcome jsonb,
    PRIMARY KEY (run_id, table_name)
)""",
    "etl_receipts": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_receipts (
    number bigserial PRIMARY KEY,
    run_id varchar(64) NOT NULL UNIQUE,
    written_at timestamptz NOT NULL,
    receipt jsonb NOT NULL,
    digest varchar(64) NOT NULL
)""",
    "etl_verified": """
CREATE TABLE IF NOT EXISTS {namespace}.etl_verified (
    table_name varchar(255) PRIMARY KEY,
    run_id varchar(64) NOT NULL,
    verified_at timestamptz NOT NULL,
    version varchar(64),
    structure varchar(64) NOT NULL,
    reading text NOT NULL,
    watermark text,
    ranges text NOT NULL,
    differed_at timestamptz
)""",
}
"""By name; `{namespace}` is the quoted schema."""


def missing_columns(create: str, there: Collection[str]) -> dict[str, str]:
    """
    The columns that a statement makes and a table lacks → their definitions; of those that rows which are there may
    have nothing in: a predecessor's table may have another key.

    >>> missing_columns(REPLICA_TABLES["etl_partition_status"], {"table_name", "plan", "rows_staged", "lower_key"})
    {'upper_key': 'VARCHAR(32) NULL', 'coerced': 'TEXT NULL', 'execution': 'VARCHAR(64) NULL'}
    """
    columns = re.findall(r"^    ([a-z_]+) (.+?),?$", create, re.MULTILINE)
    return {
        name: definition
        for name, definition in columns
        if name not in there and "NOT NULL" not in definition and "PRIMARY KEY" not in definition
    }
