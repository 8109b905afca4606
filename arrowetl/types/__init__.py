"""
What each MySQL type becomes: in Arrow, at PostgreSQL, in a LOAD DATA file, in Parquet, behind a mask; and back.

Pure functions and one table of rules. May import `model`. Must not speak to a server or read a file.
"""
