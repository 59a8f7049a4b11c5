"""What all formats share: the settings of a reading, the search for the videos, and the checks of a single event."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from lsn.data.clips.folders import VIDEO_SUFFIXES
from lsn.data.clips.table import Problem
from lsn.data.clips.text import read_text
from lsn.data.timelines.frame_times import FrameTimes, RateTimes, read_frame_times
from lsn.data.timelines.table import TimelineEvent, TimelineVideo
from lsn.errors import DataError, VideoError, shown
from lsn.files import is_file
from lsn.parsing import is_name, is_unicode, parse_json

T = TypeVar("T")
MAX_NUMBER = 1e12
"""Above any number of frames or seconds; a larger one is a mistake."""
_NAMES = {"dict": "an object", "list": "a list", "str": "text"}


@dataclass
class Source:
    """A file or folder that is read, and what was found wrong in it so far."""

    path: Path
    root: str
    """Folder that the videos lie in."""
    group_column: str | None = None
    fps: float | None = None
    """Rate that frame numbers count at, instead of what the file says; None takes the file's word."""
    background: str = "background"
    """Name of the background, in formats that label every frame."""
    problems: list[Problem] = field(default_factory=list)

    def error(self, where: str, message: object) -> None:
        """Notes what is wrong in one place."""
        self.problems.append(Problem("error", str(message), where))

    def warn(self, where: str, message: str) -> None:
        """Notes what may be wrong."""
        self.problems.append(Problem("warning", message, where))

    def each(self, items: Iterable[T], use: Callable[[T], object], where: Callable[[T], str]) -> None:
        """Uses every item; what is wrong with one is noted and does not stop the others."""
        for item in items:
            try:
                use(item)
            except (ValueError, VideoError, DataError) as error:
                self.error(where(item), error)

    def video(self, name: str) -> str:
        """Path of a video by its path, its name, or its name without the suffix; if there is none, the path it names.

        Raises:
            ValueError: no file can have such a name, or several do.
        """
        if not name or not is_name(name):
            raise ValueError(f"the video is {shown(name)}; expected the name of a file")
        path = os.path.join(self.root, name)  # noqa: PTH118 - `name` may be absolute
        if is_file(path):
            return path
        folder, stem = os.path.split(path)
        if folder not in self._by_stem:
            self._by_stem[folder] = _videos_by_stem(folder)
        same = self._by_stem[folder].get(stem, [])
        if len(same) > 1:
            raise ValueError(f"{shown(name)} may be {' or '.join(sorted(same))}; keep one of them in that folder")
        return same[0] if same else path  # which may be a folder of frames

    def frame_times(self, path: str) -> FrameTimes | RateTimes:
        """When the frames that a file counts are on screen: at the given rate, or as the video itself has them.

        Raises:
            VideoError: no rate is given, and the video cannot be opened.
        """
        return read_frame_times(path) if self.fps is None else RateTimes(self.fps)

    @cached_property
    def _by_stem(self) -> dict[str, dict[str, list[str]]]:
        return {}


def _videos_by_stem(folder: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except (OSError, ValueError):
        return found
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122
        if suffix.lower() in VIDEO_SUFFIXES:
            found.setdefault(stem, []).append(entry.path)
    return found


def make_event(label: Any, start: Any, end: Any, *, confidence: Any = None, line: int = 0) -> TimelineEvent:
    """An event of what a file says.

    Raises:
        ValueError: it has no label, or its times are none.
    """
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"the label is {shown(label)}; expected a name")
    label = label.strip()
    if not is_unicode(label):
        raise ValueError(f"the label is {shown(label)}, with half of a character, which no file can be written with")
    start_seconds, end_seconds = _seconds("starts", start), _seconds("ends", end)
    if end_seconds < start_seconds:
        raise ValueError(f"{shown(label)} ends at {end_seconds:g} s, before it starts at {start_seconds:g} s")
    if confidence is not None and not (_is_number(confidence) and 0 <= confidence <= 1):
        raise ValueError(f"the confidence of {shown(label)} is {shown(confidence)}; expected 0 to 1")
    return TimelineEvent(label, start_seconds, end_seconds, None if confidence is None else float(confidence), line)


def _seconds(what: str, value: Any) -> float:
    if not _is_number(value) or not 0 <= value < MAX_NUMBER:
        raise ValueError(f"an event {what} at {shown(value)}; expected seconds, 0 or more")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole_number(value: Any, what: str) -> int:
    """A number of frames, 0 or more.

    Raises:
        ValueError: it is none.
    """
    if not _is_number(value) or not 0 <= value < MAX_NUMBER or int(value) != value:
        raise ValueError(f"{what} is {shown(value)}; expected a whole number, 0 or more")
    return int(value)


def rate(value: Any, what: str) -> float:
    """Frames per second.

    Raises:
        ValueError: it is not above 0.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{what} is {shown(value)}; expected frames per second") from None
    if not _is_number(value) or not 0 < value < MAX_NUMBER:
        raise ValueError(f"{what} is {shown(value)}; expected frames per second, above 0")
    return float(value)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return parse_json(read_text(path, "timeline"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not JSON: {error.msg} at column {error.colno}") from None


def expect(value: Any, kind: type[T], what: str) -> T:
    """The value, of the expected kind.

    Raises:
        ValueError: it is of another.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{what} is {shown(value)}; expected {_NAMES[kind.__name__]}")
    return value


def ids_of(videos: Sequence[TimelineVideo], path: Path) -> dict[str, TimelineVideo]:
    """The videos by their names without folder and suffix, for formats that name them so.

    Raises:
        DataError: two have the same.
    """
    ids: dict[str, TimelineVideo] = {}
    for video in videos:
        other = ids.setdefault(Path(video.path).stem, video)
        if other is not video:
            raise DataError(
                f"{path}: this format names videos by their file names without suffix, which {other.path} and "
                f"{video.path} share; rename one, or write .csv"
            )
    return ids
