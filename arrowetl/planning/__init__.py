"""
Decisions about one table: what is read, in which ranges, how it is compared and published, what may be trusted.

Pure functions of what was asked before. May import `types` and `model`. Must not ask a server.
"""
