"""
What source, replica and warehouse must agree on: checksums of rows and of groups of rows, and differences of tables.

Pure. May import `sql` and `types`. Must not decide what a difference means: that is `planning.evidence`.
"""
