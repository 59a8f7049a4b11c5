"""One bar, with the time left, for work of several parts; where there is no terminal, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from lsn.cli.ui.progress import BAR, Pace, duration, progress_console

_SURE = 0.02  # of the work must be done before the rest can be estimated from it


class WholeProgress:
    """How much of all parts is done, and how long the rest takes if it goes on like this.

    Args:
        shares: What part of the time each part is expected to take, in order.
        console: Where lines go.
        bars: Where the bar is drawn; None prints lines instead.
    """

    def __init__(self, shares: Mapping[str, float], console: Console, bars: Progress | None) -> None:
        self._left = dict(shares)
        self._done = 0.0
        self._console, self._bars = console, bars
        self._bar = None if bars is None else bars.add_task(next(iter(shares)), total=1.0, status="")
        self._pace = Pace()
        self._start = time.monotonic()

    def log(self, line: str) -> None:
        """Prints a line above the bar."""
        self._console.print(line)

    def skip(self, part: str) -> None:
        """Leaves a part out: it need not be done."""
        del self._left[part]

    def update(self, part: str, fraction: float, status: str = "") -> None:
        """Shows how much of a part is done, 0 to 1; the parts before it are."""
        while next(iter(self._left)) != part:
            self._done += self._left.pop(next(iter(self._left)))
        share = self._left[part] * min(1.0, fraction)
        done = (self._done + share) / (self._done + sum(self._left.values()))
        text = ", ".join(filter(None, [f"{round(100 * done)}%", self._time_left(done), status]))
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, description=part, completed=done, status=text)
        elif self._pace.is_due():
            self._console.print(f"{part}: {text}")

    def _time_left(self, done: float) -> str:
        if done < _SURE:
            return ""
        return f"{duration((time.monotonic() - self._start) * (1 - done) / done)} left"


@contextmanager
def whole_progress(shares: Mapping[str, float]) -> Iterator[WholeProgress]:
    """Shows the progress of several parts, by their expected shares of the time."""
    console = progress_console()
    if not console.is_terminal:
        yield WholeProgress(shares, console, None)
        return
    with Progress(*BAR, console=console, transient=True) as bars:
        yield WholeProgress(shares, console, bars)
