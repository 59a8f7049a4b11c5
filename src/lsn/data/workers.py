"""What every worker process needs, whoever starts it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing import connection


def exit_with_parent(*_: object) -> None:
    """Ends this process when the one that it works for is gone, even if that was killed.

    Else it would wait for work for ever: the pipe that brings it is held open by its fellow workers too, and the
    parent that torch's own watchdog looks at is the server that workers are forked from, which lives as long as they.

    Arguments are not looked at: torch gives the worker's number.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="exit with parent", daemon=True).start()
