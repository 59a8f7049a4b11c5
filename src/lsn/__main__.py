"""Runs the command line: `lsn`, and `python -m lsn`, as torchrun does with `-m lsn`."""

import gc
import signal
import sys
import threading


def run() -> int:
    """Runs the command that the process was given and returns its exit code."""
    # Until the command has begun there is nothing to bring to an end, and where Ctrl-C met an import says nothing.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lsn.cli import main

    status = main()
    if threading.active_count() == 1:  # one that still reads from a camera needs what is left alone here
        gc.freeze()  # or Python looks through all of PyTorch for garbage as it ends, which takes most of a second
    return status


if __name__ == "__main__":
    sys.exit(run())
