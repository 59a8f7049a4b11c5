"""Being stopped: by Ctrl-C, by a service manager or a batch system (SIGTERM), by a closed terminal (SIGHUP)."""

from __future__ import annotations

import signal
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
    """
    before = {}
    try:
        for signum in STOP_SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, handler)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)


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
