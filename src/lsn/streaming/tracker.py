"""One stream, from the model's scores to an answer: resets, consensus over frames, events.

Pure: it knows neither model nor source. Shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsn.errors import WeightsError
from lsn.scores import sigmoid, softmax
from lsn.streaming.consensus import make_consensus
from lsn.streaming.events import EventReport, EventRules
from lsn.streaming.overlapping_events import make_detector
from lsn.streaming.resets import ResetDetector, ResetRules
from lsn.streaming.snapshot_arrays import below, kept_array
from lsn.video.frame_sampler import Tick

_BY_HAND = "manual"  # reason of a reset by a call


@dataclass(frozen=True, eq=False)
class Tracked:
    """What is known of a stream after a frame."""

    probabilities_K: np.ndarray
    """float32: the answer, by the consensus; sums to 1, unless events may overlap."""
    frame_probabilities_K: np.ndarray
    """float32: the answer of this frame, conditioned on those before it, likewise."""
    num_frames: int
    """Frames since the last reset, with this one."""
    reset: str | None
    """Why the stream was reset before this frame; None if it was not."""
    events: tuple[EventReport, ...]
    """What there is to say of events at this frame, and of those that the reset before it ended."""


class StreamTracker:
    """Follows one stream: `begin` each tick, then `update` it with the scores of its frame.

    Args:
        labels: names of the K classes in label order.
        fps: ticks a second.
        consensus: see `make_consensus`.
        resets: when the memory of the stream is reset.
        events: when probabilities are an event.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self, labels: Sequence[str], *, fps: float, consensus: str, resets: ResetRules, events: EventRules
    ) -> None:
        self.labels = tuple(labels)
        self.settings = f"{fps:.6g} frames per second and consensus {consensus}"
        """What a snapshot of it must have been made with."""
        self._tick_seconds = 1 / fps
        self._resets = ResetDetector(resets)
        self._consensus = make_consensus(consensus)
        self._probabilities = sigmoid if events.multi_label else softmax
        self._events = make_detector(labels, events)
        self._num_frames = 0
        self._reset_reason: str | None = None  # of a reset that no answer has reported yet
        self._ended: list[EventReport] = []  # by that reset

    @property
    def seconds(self) -> float:
        """Time of the last tick."""
        return self._resets.last_seconds

    def reset(self) -> None:
        """The next tick is a reset, whatever the rules say."""
        self._resets.start_seconds, self._reset_reason = None, _BY_HAND

    def begin(self, tick: Tick[np.ndarray]) -> bool:
        """Applies the rules to a tick; returns whether the model's memory is to be cleared before it sees the frame."""
        last_seconds = self.seconds
        reason = self._resets.reason(tick)
        if reason is None:
            return False
        self._consensus.reset()
        self._num_frames = 0
        self._reset_reason = self._reset_reason or reason
        end_seconds = max(last_seconds, min(tick.seconds, last_seconds + self._tick_seconds))
        self._ended += self._events.finish(end_seconds)
        return True

    def update(self, tick: Tick[np.ndarray], logits_K: np.ndarray) -> Tracked:
        """Takes the scores of the frame of a tick that has begun."""
        self._num_frames += 1
        probabilities_K = self._probabilities(self._consensus.update(logits_K, tick.seconds))
        ended, self._ended = self._ended, []
        reason, self._reset_reason = self._reset_reason, None
        return Tracked(
            probabilities_K,
            self._probabilities(logits_K),
            self._num_frames,
            reason,
            (*ended, *self._events.update(tick.seconds, probabilities_K)),
        )

    def ongoing_events(self, seconds: float) -> list[EventReport]:
        """The events that are going on, as they end if the stream ends here; if it is continued, so are they."""
        return self._events.under_way(seconds)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it knows."""
        return {
            **{f"consensus.{name}": array for name, array in self._consensus.arrays().items()},
            **{f"events.{name}": array for name, array in self._events.arrays().items()},
            **{f"resets.{name}": array for name, array in self._resets.arrays().items()},
            "stream": np.array([self._num_frames, self._reset_reason is not None], dtype=np.int64),
        }

    def restore(self, kept: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` gave.

        Raises:
            WeightsError: these are not such arrays, or they are damaged.
        """
        self._consensus.restore(below(kept, "consensus."), num_classes=len(self.labels))
        self._events.restore(below(kept, "events."))
        self._resets.restore(below(kept, "resets."))
        num_frames, is_reset = kept_array(kept, "stream", dtype=np.int64, shape=[2]).tolist()
        if num_frames < 0:
            raise WeightsError(f"a damaged state of a stream ({num_frames} frames)")
        self._num_frames, self._reset_reason = num_frames, _BY_HAND if is_reset else None
