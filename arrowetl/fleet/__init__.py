"""
Many databases in one run, and what differs between their schemas.

May import `api` and below. Must not know the command line.
"""
