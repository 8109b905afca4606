"""
Proof afterwards: ranges compared at source, replica and warehouse, down to the row and column that differ; and repair.

May import `pipeline` and below. Must not publish but through a run's own pieces.
"""
