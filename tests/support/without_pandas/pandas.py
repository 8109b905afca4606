"""
In the place of pandas for programs that tests start, as on most users' machines: where it is installed, pyarrow imports
it whenever it makes an array, which takes a third of a second of each of some two thousand starts.
"""

raise ImportError("tests start programs without pandas")
