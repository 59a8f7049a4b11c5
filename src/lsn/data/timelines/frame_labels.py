"""A label for every frame, as Breakfast, 50Salads and GTEA are handed on: a text file per video, and a mapping.

Source: Farha and Gall, MS-TCN, CVPR 2019, whose copies of the three data sets the field uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

from lsn.data.clips.text import read_text
from lsn.data.timelines.frame_times import FrameTimes, read_frame_times
from lsn.data.timelines.source import Source, ids_of, make_event
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.errors import DataError, shown
from lsn.files import new_folder, write_text

MAPPING_NAME, LABELS_FOLDER = "mapping.txt", "groundTruth"
MAX_MISSING_SHARE = 0.02
"""Frames at the end of a video that may lack a label, as features of a few frames leave them."""


def is_this(folder: Path) -> bool:
    """Whether a folder is of this format."""
    return (folder / LABELS_FOLDER).is_dir() or (folder / MAPPING_NAME).is_file()


def files_of(path: Path) -> list[Path]:
    """The files of a folder, or those that a split (`splits/train.split1.bundle`) lists.

    Raises:
        DataError: the split lists a file that is not there.
    """
    if path.is_dir():
        folder = path / LABELS_FOLDER if (path / LABELS_FOLDER).is_dir() else path
        return sorted(file for file in folder.glob("*.txt") if file.name != MAPPING_NAME)
    names = [line.strip() for line in read_text(path, "split").split("\n")]
    files = [path.parent.parent / LABELS_FOLDER / name for name in names if name]
    for file in files:
        if not file.is_file():
            raise DataError(f"{path}: lists {file.name}, but there is no {file}")
    return files


def parse(source: Source, files: Sequence[Path]) -> list[TimelineVideo]:
    """Runs of frames with one label are events, but for those of the background."""
    known = _mapping(source.path if source.path.is_dir() else source.path.parent.parent)
    if known and source.background not in known:
        message = (
            f"no label is {shown(source.background)}, so all frames are of events; name the background (--background)"
        )
        source.warn(str(source.path), message)
    videos: list[TimelineVideo] = []

    def take(file: Path) -> None:
        labels = [line.strip() for line in read_text(file, "labels").split("\n") if line.strip()]
        if not labels:
            raise ValueError("no labels; expected one for every frame")
        for number, label in enumerate(labels, start=1):
            if known and label not in known:
                raise ValueError(f"line {number} is {shown(label)}, which {MAPPING_NAME} does not list")
        path = source.video(file.stem)
        times = source.frame_times(path)
        if isinstance(times, FrameTimes):
            _check_number(len(labels), times.num_frames, path)
        events, first = [], 0
        for label, run in groupby(labels):
            end = first + len(list(run))
            if label != source.background:
                events.append(make_event(label, times.start_of(first), times.start_of(end), line=first + 1))
            first = end
        videos.append(TimelineVideo(path, tuple(events), where=str(file)))

    source.each(files, take, str)
    return videos


def _mapping(folder: Path) -> set[str]:
    path = folder / MAPPING_NAME
    if not path.is_file():
        return set()
    lines = [line.split(maxsplit=1) for line in read_text(path, "mapping").split("\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
        if len(line) != 2 or not line[0].isdecimal():
            raise DataError(f"{path} line {number}: {shown(' '.join(line))}; expected a number and a label")
    return {label.strip() for _, label in lines}


def _check_number(num_labels: int, num_frames: int, path: str) -> None:
    if num_labels > num_frames or num_labels < (1 - MAX_MISSING_SHARE) * num_frames:
        raise ValueError(
            f"{num_labels} labels, but {path} has {num_frames} frames; if the labels are of another rate, give it "
            "(--fps 15)"
        )


def write(path: Path, manifest: TimelineManifest, *, background: str) -> None:
    """Writes a folder with `mapping.txt` and a label for every frame of every video in `groundTruth`.

    Raises:
        DataError: an event is shorter than a frame, or two overlap or follow each other with one label, none of which
            this format can store.
        VideoError: a video cannot be opened, so that its frames are not known.
    """
    ids = ids_of(manifest.videos, path)
    lines = {name: _lines(video, background) for name, video in ids.items()}
    mapping = [f"{number} {label}\n" for number, label in enumerate((background, *manifest.labels))]
    with new_folder(path) as folder:
        write_text(folder / MAPPING_NAME, "".join(mapping))
        for name, labels in lines.items():
            write_text(folder / LABELS_FOLDER / f"{name}.txt", "".join(f"{label}\n" for label in labels))


def _lines(video: TimelineVideo, background: str) -> list[str]:
    times = read_frame_times(video.path)
    labels = [background] * times.num_frames
    for one, other in pairwise(video.events):
        touches = other.start_seconds == one.end_seconds and one.label == other.label
        if touches or other.start_seconds < one.end_seconds:
            raise DataError(f"{video.path}: {one} and {other} would become one event in this format; write .csv")
    for event in video.events:
        first, end = times.first_from(event.start_seconds), times.first_from(event.end_seconds)
        if first >= end:
            raise DataError(f"{video.path}: {event} is shorter than a frame, which this format cannot hold; write .csv")
        labels[first:end] = [event.label] * (end - first)
    return labels
