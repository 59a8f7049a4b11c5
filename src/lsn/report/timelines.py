"""The picture of annotated timelines: a row for each video, its events as bars in the colour of their label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lsn.data.timelines.table import TimelineManifest
from lsn.files import atomic_path
from lsn.video.writing.overlay import printable

MAX_VIDEOS = 40
"""Rows of a picture; of more videos the first are drawn."""


def write_timelines_picture(manifest: TimelineManifest, durations: Mapping[str, float], path: str | Path) -> None:
    """Draws the events of the videos over time; it appears whole or not at all.

    Args:
        manifest: the timelines.
        durations: seconds of the videos by path; others end with their last event.
        path: a .png, .jpg, .svg or .pdf.
    """
    videos = manifest.videos[:MAX_VIDEOS]
    palette = colormaps["tab20"]
    colors = {label: palette(number % palette.N) for number, label in enumerate(manifest.labels)}
    figure = Figure(figsize=(11, 1.4 + 0.3 * len(videos)), layout="constrained")
    FigureCanvasAgg(figure)  # no window, wherever it runs
    axes = figure.subplots()
    for row, video in enumerate(videos):
        last = max((event.end_seconds for event in video.events), default=0.0)
        axes.barh(row, durations.get(video.path, last), color="#e9ecef", height=0.7)
        for event in video.events:
            color = colors[event.label]
            if event.is_point:
                axes.plot(event.start_seconds, row, marker="v", color=color, markersize=6)
            else:
                axes.barh(
                    row, event.end_seconds - event.start_seconds, left=event.start_seconds, color=color, height=0.7
                )
    axes.set_yticks(range(len(videos)), [printable(Path(video.path).name)[-40:] for video in videos], fontsize=7)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.invert_yaxis()
    more = f" (the first {MAX_VIDEOS} of {len(manifest)} videos)" if len(manifest) > MAX_VIDEOS else ""
    axes.set_xlabel(f"seconds{more}")
    axes.spines[["top", "right"]].set_visible(False)
    shown = [Patch(color=color, label=printable(label)) for label, color in colors.items()]
    legend = figure.legend(handles=shown, loc="outside upper center", ncols=6, fontsize=7, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110)
