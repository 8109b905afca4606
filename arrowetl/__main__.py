"""
`python -m arrowetl` is `arrowetl`.
"""

import sys


def main() -> None:
    """The program; a Ctrl-C while it is still being imported ends it silently."""
    try:
        from arrowetl.cli.main import main as program
    except KeyboardInterrupt:
        sys.exit(130)
    program()


if __name__ == "__main__":
    main()
