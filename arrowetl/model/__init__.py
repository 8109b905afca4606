"""
Values that the other packages hand to each other: tables, plans, recorded state, results, events, verdicts.

Frozen, and without I/O. May import `errors` and `limits`. Must not know a server, a file or a clock.
"""
