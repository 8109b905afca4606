"""
The MySQL copy: spill files, LOAD DATA into staging, RENAME or merge.

May import `state`, `drivers` and below. Must not know the source's package or the warehouse's.
"""
