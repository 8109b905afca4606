"""
What tests are on: servers and links that fail, programs that are started, values that are made in one line.

No test is in it, and no module of it imports one.
"""
