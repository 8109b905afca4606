"""
`python -m arrowetl` is `arrowetl`.
"""

import gc
import sys

# Nearly nothing that a command makes is a cycle, and Python looks for cycles after every 700 new objects: 0.15 s of the
# 1.3 s of a core that a run of 381 unchanged tables takes.
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def main() -> None:
    """The program; a Ctrl-C while it is still being imported ends it silently."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 10, 10)
    try:
        from arrowetl.cli.main import main as program
    except KeyboardInterrupt:
        sys.exit(130)
    program()


if __name__ == "__main__":
    main()
