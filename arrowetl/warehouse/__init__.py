"""
PostgreSQL: COPY into staging, merge or swap, tables that follow the source's columns, views across clinics.

May import `state`, `drivers` and below. Must not know the source's package or the replica's.
"""
