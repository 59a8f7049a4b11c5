"""Being stopped: by Ctrl-C, by a service manager or a batch system (SIGTERM), by a closed terminal (SIGHUP)."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from lsn.machine import STOP_SIGNALS


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by a signal that asks the process to end.

    Args:
        signum: the number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """What shells expect of a process that a signal ended: 128 and the signal's number; 130 for Ctrl-C."""
        return 128 + self.signum


def raise_stopped(signum: int, frame: FrameType | None = None) -> None:
    """A signal handler that raises `Stopped`."""
    raise Stopped(signum)


@contextmanager
def handling_stop_signals(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Calls a handler for every signal that asks the process to end, while the block runs; afterwards as before.

    Signals that were ignored stay ignored, such as SIGHUP under `nohup`. Does nothing outside of the main thread,
    where Python allows no handlers.

    Python ignores and prints what is raised in a destructor or the like; a `Stopped` that ends there comes again.
    """
    before = {}
    hook = sys.unraisablehook
    try:
        for signum in STOP_SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, handler)
    except ValueError:  # not the main thread
        pass
    sys.unraisablehook = lambda unraisable: _raise_again(unraisable.exc_value) or hook(unraisable)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for signum, earlier in before.items():
            signal.signal(signum, earlier)


def _raise_again(error: BaseException | None) -> bool:
    """Sends the signal again if the error is that of one; returns whether it is."""
    if not isinstance(error, Stopped):
        return False
    again = threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, error.signum))
    again.daemon = True
    again.start()
    return True


@contextmanager
def first_signal_asks(stop: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """The first signal calls `stop`, which asks the work under way to come to a good end; the next one interrupts it.

    As an exception the first one could strike anywhere, between taking a lock and giving it back too.

    Args:
        stop: returns False as long as nothing is under way that should come to a good end; the first signal interrupts
            then.

    Yields:
        A function that raises `Stopped` if a signal came; call it when the work has ended.
    """
    received: list[int] = []

    def ask(signum: int, frame: FrameType | None) -> None:
        if received:
            raise Stopped(signum)
        received.append(signum)
        if stop() is False:
            raise Stopped(signum)

    def raise_if_stopped() -> None:
        if received:
            raise Stopped(received[0])

    with handling_stop_signals(ask):
        yield raise_if_stopped
