"""
The command line: commands, options, what a terminal shows.

The only package that imports click and rich. May import everything below. What Python's users
need is in `api`, and not here.
"""
