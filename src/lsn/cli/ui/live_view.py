"""How a stream shows: bars that move on a terminal, a line where something changes elsewhere."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lsn.cli.ui.console import bar, output, percent

if TYPE_CHECKING:
    from lsn.streaming import EventReport, StreamPrediction
    from lsn.video.live.capture_thread import FrameCounts

REFRESHES_A_SECOND = 8
_RATE_WINDOW = 32  # answers that the rate and the latencies are taken over


class View(Protocol):
    """Shows streams to a person."""

    def show(self, answer: StreamPrediction, counts: FrameCounts) -> None:
        """Takes an answer, and what became of the frames of its stream so far."""

    def say(self, line: str) -> None:
        """Prints a line."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class LineView:
    """A line whenever a stream has another likeliest label, or is reset."""

    def __init__(self) -> None:
        self._console = output()
        self._labels: dict[str, str] = {}

    def show(self, answer: StreamPrediction, counts: FrameCounts) -> None:
        """Prints a line if the answer is another than before."""
        label, probability = answer.top(1)[0]
        if self._labels.get(answer.stream) != label or answer.reset:
            self._labels[answer.stream] = label
            reset = f"  (reset: {answer.reset})" if answer.reset not in (None, "start") else ""
            self.say(f"{answer.stream}  {answer.seconds:8.2f} s  {percent(probability):>6}  {label}{reset}")

    def say(self, line: str) -> None:
        """Prints a line, at once."""
        self._console.print(line)
        self._console.file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left open."""


class LiveView:
    """For each stream the five likeliest labels as bars, rate, latencies and losses; the last events above."""

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or output(), refresh_per_second=REFRESHES_A_SECOND, transient=False)
        self._panels: dict[str, _StreamPanel] = {}

    def show(self, answer: StreamPrediction, counts: FrameCounts) -> None:
        """Takes an answer; the screen follows a few times a second."""
        panel = self._panels.setdefault(answer.stream, _StreamPanel())
        panel.take(answer, counts)
        self._live.update(Group(*(part for panel in self._panels.values() for part in panel.parts())))

    def say(self, line: str) -> None:
        """Prints a line above the bars."""
        self._live.console.print(line)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)


class _StreamPanel:
    """What is shown of one stream."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque(maxlen=_RATE_WINDOW)
        self._timings: deque[dict[str, float]] = deque(maxlen=_RATE_WINDOW)

    def take(self, answer: StreamPrediction, counts: FrameCounts) -> None:
        self._arrivals.append(time.monotonic())
        self._timings.append(dict(answer.timings_ms))
        self._answer, self._counts = answer, counts

    def parts(self) -> tuple[Text, Text, Table]:
        answer = self._answer
        title = Text(f"{answer.stream}  {answer.seconds:.1f} s", style="bold")
        table = Table.grid(padding=(0, 1))
        best = answer.top(5)
        for label, probability in best:
            style = "green" if label == best[0][0] else "default"
            table.add_row(f"  {label}", Text(percent(probability).rjust(8)), Text(bar(probability, 40), style=style))
        return title, self._status(), table

    def _status(self) -> Text:
        span = self._arrivals[-1] - self._arrivals[0]
        rate = f"{(len(self._arrivals) - 1) / span:.1f} frames/s" if span > 0 else "-"
        means = {name: sum(timing[name] for timing in self._timings) / len(self._timings) for name in self._timings[-1]}
        latency = ", ".join(f"{name} {milliseconds:.0f}" for name, milliseconds in means.items())
        return Text(f"  {rate}; ms: {latency}; {counts_text(self._counts)}", style="dim")


def counts_text(counts: FrameCounts) -> str:
    """What became of a stream's frames."""
    later = f", {counts.num_late} late" if counts.num_late else ""
    back = f", {counts.num_reconnects} times reconnected" if counts.num_reconnects else ""
    return f"{counts.num_frames} frames read, {counts.num_ticks} taken, {counts.num_dropped} dropped{later}{back}"


def event_text(stream: str, report: EventReport) -> str:
    """What is reported of an event, as a line for people."""
    event = report.event
    if report.kind == "end":
        span = f"{event.start_seconds:.2f} to {event.end_seconds:.2f} s"
        return f"{stream}  {span}  {event.label}  {percent(event.confidence)} (peak {percent(event.peak)})"
    what = "" if report.kind == "new" else "  (another label than was said)"
    return f"{stream}  since {event.start_seconds:.2f} s  {event.label}{what}"
