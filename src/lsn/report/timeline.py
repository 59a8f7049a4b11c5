"""The picture of a timeline: each class's probability over time, and the events."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lsn.files import atomic_path
from lsn.streaming.timeline import Timeline
from lsn.video.writing.overlay import printable

MAX_ROWS = 12
"""Classes that are drawn: those with events first, then the likeliest ones."""
_CURVE, _EVENT = "#2070e2", "#d9480f"


def write_timeline_picture(timeline: Timeline, path: str | Path) -> None:
    """Draws a timeline as a PNG; it appears whole or not at all."""
    track = timeline.track
    peaks = track.probabilities_TK.max(axis=0)
    with_events = {event.label for event in timeline.events}
    order = sorted(range(len(track.labels)), key=lambda k: (track.labels[k] not in with_events, -peaks[k]))
    rows = sorted(order[:MAX_ROWS])
    figure = Figure(figsize=(11, 0.9 + 0.62 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)  # no window, wherever it runs
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)
    for axis, k in zip(axes[:, 0], rows, strict=True):
        axis.fill_between(track.seconds_T, track.probabilities_TK[:, k], step="post", color=_CURVE, alpha=0.3, lw=0)
        axis.step(track.seconds_T, track.probabilities_TK[:, k], where="post", color=_CURVE, lw=0.9)
        for event in timeline.events:
            if event.label == track.labels[k]:
                axis.axvspan(event.start_seconds, event.end_seconds, ymin=0, ymax=0.07, color=_EVENT, lw=0)
                axis.axvspan(event.start_seconds, event.end_seconds, color=_EVENT, alpha=0.12, lw=0)
        axis.set_ylim(0, 1.02)
        axis.set_yticks([0, 1])
        axis.set_ylabel(printable(track.labels[k]), rotation=0, ha="right", va="center", parse_math=False)
        axis.spines[["top", "right"]].set_visible(False)
    left_out = f"; {len(track.labels) - len(rows)} classes less likely are left out" if len(order) > len(rows) else ""
    axes[-1, 0].set_xlabel(f"seconds (blue: probability of the class, orange: events{left_out})")
    axes[-1, 0].set_xlim(track.seconds_T[0], max(track.seconds_T[-1], track.seconds_T[0] + 1e-3))
    figure.suptitle(printable(Path(timeline.video).name), fontsize=10, parse_math=False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110)
