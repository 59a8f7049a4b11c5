"""How one model watches every stream: all that is needed besides the network itself.

Shapes: C = 3 channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from lsn.config import EventRules
from lsn.streaming.resets import ResetRules
from lsn.streaming.tracker import StreamTracker
from lsn.video.eval_transform import EvalTransform
from lsn.video.frame_sampler import FrameSampler

F = TypeVar("F")


@dataclass(frozen=True)
class StreamSettings:
    """What the streams of a model share; processes without the model use it too.

    Raises:
        ConfigError: a value is out of range.
    """

    labels: tuple[str, ...]
    """Names of the classes in label order."""
    fps: float
    """Frames per second that the model is given."""
    consensus: str
    """See `make_consensus`."""
    resets: ResetRules
    events: EventRules
    size: int
    """Side of the square that the model sees, in pixels."""
    short_side: int
    """The frames' short side is brought to this before cropping."""

    def __post_init__(self) -> None:
        self.sampler()
        self.tracker()

    def sampler(self) -> FrameSampler[F]:
        """A clock for a stream."""
        return FrameSampler(self.fps, longest_hold_seconds=self.resets.max_gap_seconds)

    def tracker(self) -> StreamTracker:
        """What follows a stream."""
        return StreamTracker(
            self.labels, fps=self.fps, consensus=self.consensus, resets=self.resets, events=self.events
        )

    def views(self, frames_THWC: np.ndarray) -> np.ndarray:
        """What the model sees of uint8 RGB frames, uint8 TCHW."""
        return self._transform(frames_THWC)[0]

    def view(self, frame_HWC: np.ndarray) -> np.ndarray:
        """What the model sees of one frame, uint8 CHW; any thread may call it."""
        return self.views(frame_HWC[None])[0]

    @cached_property
    def _transform(self) -> EvalTransform:
        return EvalTransform(size=self.size, short_side=self.short_side, num_crops=1)
