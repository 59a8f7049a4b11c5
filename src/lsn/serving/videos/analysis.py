"""What happens in whole videos that are sent to a server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lsn.data.timelines.table import TimelineManifest, TimelineVideo, in_order
from lsn.inference.predictor import Predictor
from lsn.streaming import StreamingPredictor
from lsn.streaming.found_events import found_event
from lsn.streaming.timeline import Timeline, make_timeline

MAX_NAME = 60
"""Characters of a file name that are kept; in UTF-8 they may take four bytes each, of the 255 that a name has."""


@dataclass(frozen=True)
class Analysis:
    """The result for a video."""

    result: dict[str, Any]
    """For JSON: the likeliest classes of a clip, or the events of a long video."""


@dataclass(frozen=True)
class TimelineAnalysis(Analysis):
    """The result for a long video."""

    video: Path
    labels: tuple[str, ...]
    """That events can have."""
    timeline: Timeline

    def as_annotated(self, *, as_points: bool = False) -> TimelineManifest:
        """The video with its events, or with the points of their peaks, as annotation tools have them."""
        found = self.timeline
        events = in_order(found_event(each, found.start_seconds, as_point=as_points) for each in found.events)
        return TimelineManifest(str(self.video), self.labels, (TimelineVideo(str(self.video), events),))


class VideoAnalyzer:
    """Finds what happens in videos. For one thread at a time.

    Args:
        predictor: for a clip, the likeliest classes; for a long video, its events.
    """

    def __init__(self, predictor: Predictor | StreamingPredictor) -> None:
        network = predictor.runtime.network if isinstance(predictor, Predictor) else predictor.network
        self.model = network.name
        self.labels = predictor.labels
        self._predictor = predictor

    @property
    def background(self) -> str | None:
        """Label of the background of a model of long videos; None if it has none."""
        return None if isinstance(self._predictor, Predictor) else self._predictor.events.background

    def analyze(self, video: Path, name: str, progress: Callable[[int, int], None]) -> Analysis:
        """Runs the model over a video.

        Args:
            video: the file.
            name: what the result calls it.
            progress: called with the whole seconds done, and those of the video; what it raises is raised.

        Raises:
            VideoError: the video cannot be read.
        """
        if isinstance(self._predictor, Predictor):
            return Analysis(self._predictor(video).to_dict() | {"video": name})
        found = make_timeline(self._predictor, video, progress=progress)
        events = [asdict(event) for event in found.events]
        result = {"video": name, "duration_seconds": found.duration_seconds, "events": events}
        labels = tuple(label for label in self.labels if label != self.background)
        return TimelineAnalysis(result, video, labels, found)


def file_name(name: str) -> str:
    """The name of a client's video as one that files can have everywhere."""
    return re.sub(r"[^\w. -]", "_", Path(name.replace("\\", "/")).name).lstrip(".- ")[-MAX_NAME:] or "video"
