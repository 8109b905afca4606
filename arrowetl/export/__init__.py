"""
Tables as Parquet files, and dbt's sources.yml.

May import `pipeline` and below. Must not write to a server.
"""
