"""Runs the command line with `python -m lsn`, as torchrun does with `-m lsn`."""

import sys

from lsn.cli import main

if __name__ == "__main__":
    sys.exit(main())
