"""Worker processes: how they are started, and how they end."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection, resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TypeVar

from lsn.errors import ConfigError, DataError
from lsn.hardware import STOP_SIGNALS

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerDied(DataError):
    """A worker process has ended before its work was done."""


def check_num_workers(num_workers: int, *, least: int = 0) -> None:
    """Refuses a number of processes that cannot be.

    Raises:
        ConfigError: it is below the least.
    """
    if num_workers < least:
        raise ConfigError(f"the number of workers is {num_workers}; it must be at least {least}")


def map_in_processes(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    num_workers: int,
    jobs_a_turn: int,
    context: BaseContext | None = None,
) -> Iterator[Result]:
    """Yields what the function makes of each job, in their order; an error or a signal ends the jobs under way.

    Raises:
        WorkerDied: a process died.

    Args:
        function: can be pickled, as can jobs and results.
        jobs: what to work on.
        num_workers: processes, at least 1; no more are started than there is work for.
        jobs_a_turn: jobs that a process takes at a time.
        context: how processes start; by default as Python starts them on this system.
    """
    num_turns = -(-len(jobs) // jobs_a_turn)
    others = set(multiprocessing.active_children())
    pool = None
    try:
        with starting_workers():  # all of them start here, since all jobs are handed in
            pool = ProcessPoolExecutor(
                max(1, min(num_workers, num_turns)), mp_context=context, initializer=exit_with_parent
            )
            results = pool.map(partial(_droppable, function), jobs, chunksize=jobs_a_turn)
        yield from results
    except BrokenProcessPool:
        raise WorkerDied(
            "a worker process died, most often for want of memory; run the same command again, with fewer workers"
        ) from None
    except BaseException:
        for worker in set(multiprocessing.active_children()) - others:
            _drop_jobs_of(worker)
        raise
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)  # waits for the pool's thread too


@contextmanager
def starting_workers() -> Iterator[None]:
    """Workers that are started in the block never receive the signals that ask to stop: their parent ends them.

    A terminal, a service manager or a batch system sends signals to every process of a command, also to those that
    are still importing modules and would print where they were. A signal to this process takes effect after the block:
    an exception in the middle of starting a process could leave it behind, or be lost.
    """
    received: list[int] = []

    def remember(signum: int, frame: FrameType | None) -> None:
        received.append(signum)

    handlers = {}
    if threading.current_thread() is threading.main_thread():  # which alone has handlers
        handlers = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    replaced = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    before = _block_signals()
    try:
        for signum in replaced:
            signal.signal(signum, remember)  # a signal still arrives through a thread that does not block it
        resource_tracker.ensure_running()  # lifts the block when it starts
        _block_signals()
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for signum, handler in replaced.items():
            signal.signal(signum, handler)
        for signum in received:
            signal.raise_signal(signum)


_DROP_SIGNAL = getattr(signal, "SIGUSR1", None)
"""Lets a worker leave the job under way and take no other; Windows has none such, and jobs come to their end there."""


def _block_signals() -> set[int] | None:
    """Blocks those that stop, and until a worker can handle it the one that drops its jobs; returns the mask before."""
    if _DROP_SIGNAL is None:
        return None
    return signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, _DROP_SIGNAL})


def exit_with_parent(*_: object) -> None:
    """Ends this process when the one that it works for is gone, even if that was killed, or when that one says so.

    Else it would wait for work for ever: the pipe that brings it is held open by its fellow workers too, and the
    parent that torch's own watchdog looks at is the server that workers are forked from, which lives as long as they.

    Arguments are not looked at: torch gives the worker's number.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    def obey() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
            pass  # sent to all processes of the command: the parent has it too, and ends its workers when it is done
        os._exit(1)

    _block_signals()
    threading.Thread(target=wait, name="exit with parent", daemon=True).start()
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=obey, name="obey parent", daemon=True).start()
    elif _DROP_SIGNAL is not None:  # macOS does not say who sends a signal
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if _DROP_SIGNAL is not None:
        signal.signal(_DROP_SIGNAL, _drop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {_DROP_SIGNAL})


@atexit.register
def _end_workers() -> None:
    """Ends the daemons that are left when this process exits.

    multiprocessing asks each once and waits for ever, but a signal is lost on a worker that has not yet handled an
    earlier one of its kind, such as one that was sent to all processes of the command.
    """
    while workers := [child for child in multiprocessing.active_children() if child.daemon]:
        for worker in workers:
            worker.terminate()
        connection.wait([worker.sentinel for worker in workers], timeout=0.2)


def _drop_jobs_of(worker: BaseProcess) -> None:
    """Lets a worker of `map_in_processes` leave its job.

    If it ended instead, the pool would take itself for broken, and not all versions of Python get over that while
    jobs are being dropped.
    """
    if _DROP_SIGNAL is not None and worker.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, _DROP_SIGNAL)


class _Dropped(BaseException):
    """Leaves a job, which removes what it has begun to write."""


_is_working = _is_dropping = False


def _drop(signum: int, frame: FrameType | None) -> None:
    global _is_dropping
    if _is_working and not _is_dropping:
        _is_dropping = True
        raise _Dropped
    _is_dropping = True


def _droppable(function: Callable[[Job], Result], job: Job) -> Result:
    """Does a job, unless the parent has no more use for it."""
    global _is_working
    try:
        _is_working = True
        if not _is_dropping:
            return function(job)
    except _Dropped:
        pass
    finally:
        _is_working = False
    raise WorkerDied("a worker process was interrupted; run the same command again")
