"""
What is recorded at the replica and the warehouse: table states, runs, receipts, journals of partitions, locks.

May import `drivers`, `config` and below. Must not move a row of the source.
"""
