"""Runs a command of `lsn` for another process, and stops it when that one is gone, however it ended.

    python -m lsn.cli.beside train recipe.yaml --out folder

The other process holds a pipe to the standard input of this one, in which it writes nothing: the system closes it with
the process, even if that was killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

STDIN = 0


def run() -> int:
    """Runs the command that the process was given and returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both, and the other process stops this one
    threading.Thread(target=_stop_with_parent, name="stop with parent", daemon=True).start()
    from lsn.cli.app import main

    return main()


def _stop_with_parent() -> None:
    while os.read(STDIN, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run())
