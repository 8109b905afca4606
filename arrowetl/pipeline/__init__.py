"""
One run: plan, load every table, compare, publish, record.

May import everything below. Must not print, and must not know a command.
"""
