"""
The server that is read: its catalog, its checksums, ranges of its keys, rows as Arrow.

May import `drivers` and below. Must not write, and must not know the replica or the warehouse.
"""
