"""
Which arrowetl this is; read by the package's build, and by whatever writes down what wrote it.
"""

__version__ = "0.1.0"
