"""Being stopped: by Ctrl-C, by a service manager or scheduler (SIGTERM, SIGUSR1), by a closed terminal (SIGHUP)."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lsn.hardware import STOP_SIGNALS

_OF_SCHEDULERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
_REPEAT_SECONDS = 2.0
"""Within which the same signal of a scheduler is the same request: it may be sent to a process and to its parent too,
which passes it on."""
EXIT_REQUEUE = 75
"""Of a process that was stopped and asks to be started again (EX_TEMPFAIL of sysexits.h)."""


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by a signal that asks the process to end.

    Args:
        signum: the number of the signal.
        can_resume: whether the same command resumes the work.
    """

    def __init__(self, signum: int, *, can_resume: bool = False) -> None:
        super().__init__(signum)
        self.signum, self.can_resume = signum, can_resume

    @property
    def exit_code(self) -> int:
        """What shells expect of a process that a signal ended: 128 and the signal's number; 130 for Ctrl-C.

        Schedulers, which send SIGTERM or SIGUSR1, get `EXIT_REQUEUE` of work that can be resumed.
        """
        return EXIT_REQUEUE if self.can_resume and self.signum in _OF_SCHEDULERS else 128 + self.signum


def raise_stopped(signum: int, frame: FrameType | None = None) -> None:
    """A signal handler that raises `Stopped`, and raises it again if it is lost.

    Libraries catch everything here and there, such as imports of what may be missing, and Python drops what is raised
    in a destructor. While a module is being imported it waits for the end of that: C++ code that imports, as
    PyTorch's does, ends the process on an exception.
    """
    if _is_importing(frame):
        threading.Thread(target=_send_again_later, args=(signum,), daemon=True).start()
        return
    stopped = Stopped(signum)
    threading.Thread(target=_send_again_if_lost, args=(stopped,), daemon=True).start()
    raise stopped


def _send_again_later(signum: int) -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    if not _is_over.wait(0.05):
        signal.pthread_kill(main_thread, signum)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _send_again_if_lost(stopped: Stopped) -> None:
    """Watches the main thread from another one, until the exception is at its end or nobody handles it any more."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    times_missed = 0
    while times_missed < 2:
        if _is_over.wait(0.1):
            return
        handled: Any = sys._current_exceptions().get(main_thread)
        error = handled[1] if isinstance(handled, tuple) else handled  # a tuple until Python 3.12
        while error is not None and error is not stopped:
            error = error.__context__
        times_missed = 0 if error is stopped else times_missed + 1
    signal.pthread_kill(main_thread, stopped.signum)


_is_over = threading.Event()
"""Whether no block of `handling_stop_signals` is running."""
_is_over.set()


@contextmanager
def handling_stop_signals(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Calls a handler for every signal that asks the process to end, while the block runs; afterwards as before.

    Signals that were ignored stay ignored, such as SIGHUP under `nohup`. Does nothing outside of the main thread,
    where Python allows no handlers.
    """
    before = {}
    is_outermost, hook = _is_over.is_set(), sys.unraisablehook

    def say_unless_stopped(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)

    try:
        for signum in STOP_SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, handler)
    except ValueError:  # not the main thread
        pass
    sys.unraisablehook = say_unless_stopped
    _is_over.clear()
    try:
        yield
    finally:
        if is_outermost:
            _is_over.set()
        sys.unraisablehook = hook
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
    since = 0.0

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal since
        if received:
            if signum == received[0] and signum in _OF_SCHEDULERS and time.monotonic() - since < _REPEAT_SECONDS:
                return
            raise_stopped(signum)
        since = time.monotonic()
        received.append(signum)
        if stop() is False:
            raise_stopped(signum)

    def raise_if_stopped() -> None:
        if received:
            raise Stopped(received[0])

    with handling_stop_signals(ask):
        yield raise_if_stopped
