"""What is reported of a stream: an answer at each tick, and how the stream ended.

Shapes: K classes, H height, W width, C = 3 channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lsn.evaluation.top import top_labels
from lsn.streaming.events import EventReport
from lsn.video.live.tick_queue import FrameCounts


@dataclass(frozen=True, eq=False)
class StreamPrediction:
    """What a model answers at one tick of a stream."""

    stream: str
    """Name of the stream."""
    seconds: float
    """Time of the tick, on the clock of the stream: that of its first source, which later ones are joined to."""
    pts_seconds: float
    """When the frame that is on screen then came there."""
    labels: tuple[str, ...]
    """Names of the K classes in label order."""
    probabilities: np.ndarray
    """float32, (K,): the answer, by the stream's consensus; sums to 1."""
    frame_probabilities: np.ndarray
    """float32, (K,): the answer of this frame, conditioned on those before it; sums to 1."""
    num_frames: int
    """Frames that the model has seen since the stream was last reset, with this one."""
    reset: str | None
    """Why the stream was reset before this frame; None if it was not."""
    events: tuple[EventReport, ...]
    """What there is to say of events at this tick: one is new, has another label than was said, or is over."""
    frame_HWC: np.ndarray
    """The frame, uint8 RGB."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of this tick: `wait` for a frame, `decode` it (while others waited; with what the
    model sees of it, where no tick is dropped), else `transform` it, `model`."""
    batch_size: int = 1
    """Streams that the model ran for at once."""

    @property
    def label(self) -> str:
        """The likeliest label."""
        return self.top(1)[0][0]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k likeliest labels (all, if there are fewer) with their probabilities, the likeliest first.

        Raises:
            ConfigError: k is under 1.
        """
        return top_labels(self.labels, self.probabilities, k)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the frame as plain data, for JSON."""
        top5 = self.top(5)
        return {
            "stream": self.stream,
            "seconds": self.seconds,
            "pts_seconds": self.pts_seconds,
            "label": top5[0][0],
            "top5": [{"label": label, "probability": probability} for label, probability in top5],
            "probabilities": self.probabilities.tolist(),
            "frame_probabilities": self.frame_probabilities.tolist(),
            "num_frames": self.num_frames,
            "reset": self.reset,
            "events": [report.to_dict() for report in self.events],
            "timings_ms": dict(self.timings_ms),
            "batch_size": self.batch_size,
        }


@dataclass(frozen=True)
class StreamEnd:
    """How a stream ended."""

    stream: str
    """Name of the stream."""
    seconds: float
    """Time of its last tick, on the clock of the stream."""
    events: tuple[EventReport, ...]
    """The ends of events that were going on; a stream that is continued from its saved state continues them."""
    counts: FrameCounts
    """Frames read, dropped and left out."""
    error: Exception | None
    """What ended it; None if the source ended by itself, or the runner was stopped."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return {
            "stream": self.stream,
            "ended_seconds": self.seconds,
            "events": [report.to_dict() for report in self.events],
            "counts": asdict(self.counts),
            "error": None if self.error is None else str(self.error),
        }
