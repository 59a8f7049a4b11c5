"""The table of clips that everything reads from, and the problems that its checks find."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lsn.data.clips.text import suggestion
from lsn.errors import DataError
from lsn.remote import is_address

logger = logging.getLogger(__name__)

MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled stretch of video: a whole file, a folder of frames, or a window of either."""

    path: str
    """Usable as it is: absolute, relative to the working directory, in a tar (`a.tar/7.mp4`), or an address."""
    label: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    first_frame: int | None = None
    last_frame: int | None = None
    """The window ends before this frame."""
    group: str = ""
    """Source that the clip was cut from; empty if unknown."""
    line: int = 0
    """Line of the manifest, counted from 1; 0 if there is none."""
    frame_pattern: str | None = None
    """Names of the frames in a folder, such as `img_{:05d}.jpg`."""
    num_frames: int | None = None
    """Frames that the manifest promises for the whole file."""

    @property
    def window(self) -> tuple[float | None, ...]:
        """What is read of the file; two clips with the same path and window are the same pictures."""
        return (self.start_seconds, self.end_seconds, self.first_frame, self.last_frame)

    @property
    def file(self) -> str:
        """The path as absolute, however it is written; links are not followed, which costs a call for each folder."""
        return self.path if is_address(self.path) else os.path.abspath(self.path)  # noqa: PTH100 - quick, for long lists


@dataclass(frozen=True)
class Manifest:
    """Clips and the order of their labels. Labels live by name; numbers follow from `labels`."""

    source: str
    """File or folder that the clips were listed in."""
    labels: tuple[str, ...]
    clips: tuple[Clip, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def label_index(self, label: str) -> int:
        """The number of a label.

        Raises:
            DataError: the label is not among `labels`.
        """
        try:
            return self._index_of_label[label]
        except KeyError:
            raise DataError(f"{self.source}: unknown label {label!r}; {suggestion(label, self.labels)}") from None

    def where(self, clip: Clip) -> str:
        """The place of a clip for messages: `train.csv line 3`, or the source alone."""
        return f"{self.source} line {clip.line}" if clip.line else self.source

    @cached_property
    def _index_of_label(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data: an error stops training, a warning is logged."""

    severity: Literal["error", "warning"]
    message: str
    where: str
    """File, folder, or file and line."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def raise_on_errors(
    problems: Sequence[Problem], *, way_to_the_rest: str = "`lsn data check` lists all of them"
) -> None:
    """Logs the warnings and raises the errors, the first ten by name and the rest by number.

    Args:
        problems: what was found.
        way_to_the_rest: said after the number of those that are not listed.

    Raises:
        DataError: at least one of the problems is an error.
    """
    for problem in problems:
        if problem.severity == "warning":
            logger.warning("%s", problem)
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    if len(errors) == 1:
        raise DataError(errors[0])
    if errors:
        lines = [f"{len(errors)} problems in the data:", *errors[:MAX_LISTED]]
        if len(errors) > MAX_LISTED:
            lines.append(f"and {len(errors) - MAX_LISTED} more; {way_to_the_rest}")
        raise DataError("\n  ".join(lines))
