"""
`python -m arrowetl` is `arrowetl`.
"""

import sys


def main() -> None:
    """The program; a Ctrl-C while it is still being read in ends it without a word."""
    try:
        from arrowetl import cli
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
