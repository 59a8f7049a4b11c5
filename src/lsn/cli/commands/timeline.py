"""`lsn timeline`: what happens when in a whole video."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lsn.cli.options.stream import StreamOptions, event_line, streaming_predictor
from lsn.cli.options.weights import weights_files
from lsn.cli.ui.console import columns, output, percent
from lsn.cli.ui.progress import counting_progress
from lsn.files import check_outputs, write_text

EVENTS_NAME, PICTURE_NAME, VIDEO_NAME = "events.jsonl", "timeline.png", "annotated.mp4"


def timeline(
    weights: Path,
    video: Path,
    /,
    *,
    out: Path | None = None,
    options: Annotated[StreamOptions | None, Parameter(name="*")] = None,
) -> None:
    """Find what happens when in a whole video, in one pass.

    Writes the events, a picture of the probabilities over time and the annotated video into a folder.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, or a name of the Hub; of a causal model.
    video
        A video file, or a folder of frames.
    out
        The folder; by default the video's name with -timeline, here.
    """
    options = options or StreamOptions()
    folder = out or Path(f"{video.stem}-timeline")
    check_outputs([folder / name for name in (EVENTS_NAME, PICTURE_NAME, VIDEO_NAME)], [video, *weights_files(weights)])
    predictor, remarks = streaming_predictor(weights, options)
    from lsn.inference.annotate import write_track_video
    from lsn.report.timeline import write_timeline_picture
    from lsn.streaming.timeline import make_timeline

    console = output()
    for remark in remarks:
        console.print(remark, style="dim")
    with counting_progress("seconds seen") as progress:
        found = make_timeline(predictor, video, source_fps=options.source_fps, progress=progress)
    lines = [event_line(str(video), asdict(event)) for event in found.events]
    write_text(folder / EVENTS_NAME, "".join(f"{line}\n" for line in lines))
    write_timeline_picture(found, folder / PICTURE_NAME)
    write_track_video(video, found.track, folder / VIDEO_NAME, fps=options.source_fps)
    table = columns("From", "To", "Event", "Confidence", "Peak", right=("From", "To", "Confidence", "Peak"))
    for event in found.events:
        span = (f"{event.start_seconds:.2f} s", f"{event.end_seconds:.2f} s")
        table.add_row(*span, event.label, percent(event.confidence), percent(event.peak))
    console.print(table if found.events else "no event")
    console.print(
        f"\nEvents   {folder / EVENTS_NAME}\nPicture  {folder / PICTURE_NAME}\nVideo    {folder / VIDEO_NAME}"
    )
