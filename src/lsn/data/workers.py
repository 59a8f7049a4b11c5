"""What every worker process needs, whoever starts it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TypeVar

from lsn.errors import ConfigError, DataError

Job = TypeVar("Job")
Result = TypeVar("Result")


def check_num_workers(num_workers: int, *, least: int = 0) -> None:
    """Refuses a number of processes that cannot be.

    Raises:
        ConfigError: it is below the least.
    """
    if num_workers < least:
        raise ConfigError(f"the number of workers is {num_workers}; it must be at least {least}")


def map_in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, num_workers: int, jobs_a_turn: int
) -> Iterator[Result]:
    """Yields what the function makes of each job, in their order; an error or Ctrl-C drops the jobs not begun.

    Raises:
        DataError: a process died.

    Args:
        function: can be pickled, as can jobs and results.
        jobs: what to work on.
        num_workers: processes, at least 1; no more are started than there is work for.
        jobs_a_turn: jobs that a process takes at a time.
    """
    num_turns = -(-len(jobs) // jobs_a_turn)
    with ProcessPoolExecutor(max(1, min(num_workers, num_turns)), initializer=exit_with_parent) as pool:
        try:
            yield from pool.map(function, jobs, chunksize=jobs_a_turn)
        except BrokenProcessPool:
            raise DataError(
                "a worker process died, most often for want of memory; run the same command again, with fewer workers"
            ) from None
        except BaseException:  # the pool itself drops none if it is interrupted while it takes them
            pool.shutdown(cancel_futures=True)
            raise


def exit_with_parent(*_: object) -> None:
    """Ends this process when the one that it works for is gone, even if that was killed.

    Else it would wait for work for ever: the pipe that brings it is held open by its fellow workers too, and the
    parent that torch's own watchdog looks at is the server that workers are forked from, which lives as long as they.

    Signals that ask to stop are left to the parent, which ends its workers. A terminal sends them to all.

    Arguments are not looked at: torch gives the worker's number.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="exit with parent", daemon=True).start()
