"""WebVTT: cues in milliseconds, one file per video and of its name.

Source: WebVTT, the Web Video Text Tracks format, W3C.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from lsn.data.clips.text import read_text
from lsn.data.timelines.source import Source, ids_of, make_event
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import DataError, shown
from lsn.files import new_folder, write_text

SUFFIX = ".vtt"
_TIME = r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMES = re.compile(rf"^\s*{_TIME}[ \t]+-->[ \t]+{_TIME}(?:[ \t]|$)")
_TAG = re.compile(r"<[^>]*>")


def parse(source: Source, files: Sequence[Path]) -> list[TimelineVideo]:
    """Cues as events: the text of a cue is the label. A file without cues is a video without events."""
    videos: list[TimelineVideo] = []

    def take(file: Path) -> None:
        lines = read_text(file, "WebVTT file").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if not re.match(r"WEBVTT(?:[ \t]|$)", lines[0]):
            raise ValueError(f"line 1 is {shown(lines[0])}; expected WEBVTT")
        events = []
        for number, line in enumerate(lines, start=1):
            if "-->" in line:
                try:
                    events.append(_event(lines, number))
                except ValueError as error:
                    source.error(f"{file} line {number}", error)
        videos.append(TimelineVideo(source.video(file.stem), in_order(events), where=str(file)))

    source.each(files, take, str)
    return videos


def _event(lines: Sequence[str], number: int) -> TimelineEvent:
    """The cue whose times stand in a line, counted from 1."""
    found = _TIMES.match(lines[number - 1])
    if found is None:
        raise ValueError(f"times {shown(lines[number - 1])}; expected 00:00:01.000 --> 00:00:02.500")
    parts = [int(part or 0) for part in found.groups()]
    start, end = ((60 * (60 * h + m) + s) + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
    text = []
    for line in lines[number:]:
        if not line.strip():
            break
        text.append(html.unescape(_TAG.sub("", line)).strip())
    return make_event(" ".join(text), start, end, line=number)


def write(path: Path, manifest: TimelineManifest) -> None:
    """Writes a folder with a file per video.

    Raises:
        DataError: an event is a point, which WebVTT cannot hold.
    """
    texts = {}
    for name, video in ids_of(manifest.videos, path).items():
        cues = ["WEBVTT\n"]
        for event in video.events:
            start, end = (round(1000 * seconds) for seconds in (event.start_seconds, event.end_seconds))
            if end <= start:
                raise DataError(f"{video.path}: {event} is a point, which WebVTT cannot store; write .csv")
            text = html.escape(" ".join(event.label.split()), quote=False)
            cues.append(f"{_time(start)} --> {_time(end)}\n{text}\n")
        texts[name] = "\n".join(cues)
    with new_folder(path) as folder:
        for name, text in texts.items():
            write_text(folder / f"{name}{SUFFIX}", text)


def _time(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"
