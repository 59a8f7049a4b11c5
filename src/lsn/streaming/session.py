"""One stream: where it stands, and what is made of the model's scores.

Shapes: T ticks, K classes, H height, W width, C = 3 channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lsn.errors import LSNError, WeightsError, shown
from lsn.evaluation.metrics import top_labels
from lsn.streaming.consensus import make_consensus
from lsn.streaming.events import Event, EventDetector
from lsn.streaming.resets import ResetDetector
from lsn.streaming.snapshots import kept_tensor, load_state, save_state
from lsn.video.frame_sampler import FrameSampler, SamplerPosition, Tick

if TYPE_CHECKING:
    from lsn.streaming.predictor import StreamingPredictor

_BY_HAND = "manual"  # reason of a reset by a call


@dataclass(frozen=True, eq=False)
class StreamPrediction:
    """What a model says of a stream at one tick. Arrays are NumPy's."""

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
    """float32, (K,): what this frame speaks for, in the light of those before it; sums to 1."""
    num_frames: int
    """Frames that the model has seen since the stream started anew, with this one."""
    reset: str | None
    """Why the stream started anew with this frame; None if it went on."""
    events: tuple[Event, ...]
    """Events that ended with this tick."""
    frame_HWC: Tensor
    """The frame, uint8 RGB."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of this tick: `wait` for a frame, `decode` it (while others waited), `transform`, `model`."""

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
        return {
            "stream": self.stream,
            "seconds": self.seconds,
            "pts_seconds": self.pts_seconds,
            "label": self.label,
            "top5": [{"label": label, "probability": probability} for label, probability in self.top(5)],
            "probabilities": self.probabilities.tolist(),
            "frame_probabilities": self.frame_probabilities.tolist(),
            "num_frames": self.num_frames,
            "reset": self.reset,
            "events": [asdict(event) for event in self.events],
            "timings_ms": dict(self.timings_ms),
        }


class Stream:
    """A place in a `StreamingPredictor`, which opens it; give it frames with `push`.

    It has one clock, which stands at the last answered tick and at the frames pushed since then. A stream that was
    restored, or whose source was finished, joins the times of the next source to those before; see `FrameSampler`.
    What it keeps does not grow, however long it runs.
    """

    def __init__(self, predictor: StreamingPredictor, number: int, name: str) -> None:
        self.name = name
        self.number = number
        """Its number in the predictor's pool."""
        self._predictor = predictor
        self._clock: FrameSampler[Tensor] = predictor.clock()
        self._watch = ResetDetector(predictor.resets)
        self._consensus = make_consensus(predictor.consensus)
        self._detector = EventDetector(predictor.labels, predictor.events)
        self._num_frames = 0
        self._reset_reason: str | None = None  # of a reset by hand, until the next tick tells it

    @property
    def seconds(self) -> float:
        """Time of the last tick, on the clock of the stream."""
        return self._watch.last_seconds

    @property
    def position(self) -> SamplerPosition[Tensor] | None:
        """Where the clock stands; None before the first frame."""
        return self._clock.position

    def push(self, seconds: float, frame_HWC: Tensor | np.ndarray) -> list[StreamPrediction]:
        """Takes the next frame and its time; returns the answers at the ticks up to it, often none or one.

        The frame on screen at a tick is known when the next one comes, so answers are one frame behind. A frame that
        is no later than the one before is left out.

        Raises:
            VideoError: the frame is not uint8 RGB of at least one pixel; the stream stands where it stood.
            ModelError: the model's scores are not finite; the frame is left out.
        """
        frame_HWC = self._predictor.checked(frame_HWC, self.name)
        return [self._answer(tick) for tick in self._clock.push(seconds, frame_HWC)]

    def finish(self, end_seconds: float) -> tuple[list[StreamPrediction], list[Event]]:
        """Says when the last frame went off screen; returns the last answers, and the events that end there.

        The stream can be saved and continued with another source; see `end_events`.
        """
        answers = [self._answer(tick) for tick in self._clock.finish(end_seconds)]
        at = self._clock.position
        return answers, self.end_events(end_seconds if at is None or at.end_seconds is None else at.end_seconds)

    def end_events(self, seconds: float) -> list[Event]:
        """The events that are going on, as they are if the stream ends here.

        If it is continued they go on too, and each is reported again, whole, when it ends.
        """
        return self._detector.under_way(seconds)

    def end_source(self, position: SamplerPosition[Tensor]) -> None:
        """Takes over where the clock of a source stood when the source ended."""
        self._clock.resume(position)

    def reset(self) -> None:
        """Forgets all frames: memory and consensus start anew with the next one."""
        self._watch.start_seconds, self._reset_reason = None, _BY_HAND

    def close(self) -> None:
        """Gives the place back; the stream cannot be used afterwards."""
        self._predictor.close(self)

    def begin(self, tick: Tick[Tensor]) -> tuple[str | None, list[Event]]:
        """Starts anew if a rule says so; returns the reason and the events that end by it."""
        last_seconds = self._watch.last_seconds
        reason = self._watch.reason(tick)
        if reason is None:
            return None, []
        self._predictor.pool.reset(self.number)
        self._consensus.reset()
        self._num_frames = 0
        reason, self._reset_reason = self._reset_reason or reason, None
        return reason, self._detector.finish(max(last_seconds, min(tick.seconds, last_seconds + self._tick_seconds)))

    def take(
        self,
        tick: Tick[Tensor],
        logits_K: Tensor,
        *,
        reset: str | None,
        events: list[Event],
        timings_ms: Mapping[str, float],
    ) -> StreamPrediction:
        """Makes the answer of a tick from the model's scores and from what `begin` returned."""
        self._num_frames += 1
        self._clock.follow(tick)
        probabilities_K = self._consensus.update(logits_K, tick.seconds).softmax(dim=0).float().numpy()
        return StreamPrediction(
            stream=self.name,
            seconds=tick.seconds,
            pts_seconds=tick.pts_seconds,
            labels=self._predictor.labels,
            probabilities=probabilities_K,
            frame_probabilities=logits_K.softmax(dim=0).numpy(),
            num_frames=self._num_frames,
            reset=reset,
            events=(*events, *self._detector.update(tick.seconds, probabilities_K)),
            frame_HWC=tick.frame,
            timings_ms=timings_ms,
        )

    def save(self, path: str | Path) -> None:
        """Writes where the stream stands: memory, consensus, events that are going on, and clock.

        `StreamingPredictor.open(state=path)` goes on from it, in this or another process, with the same numbers.
        """
        state = self._predictor.pool.state(self.number)
        save_state(path, state, model=self._predictor.model, extra=self._tensors())

    def restore(self, path: str | Path) -> None:
        """Takes the place of a stream that was saved; the predictor's `open` calls it.

        Raises:
            WeightsError: the file is no state, of other weights, or of a stream with another rate or consensus.
        """
        state, extra = load_state(path, model=self._predictor.model)
        mine = f"{self._settings}/"
        kept = {name.removeprefix(mine): tensor for name, tensor in extra.items() if name.startswith(mine)}
        if not kept:
            other = next(iter(extra), "unknown settings/").rpartition("/")[0]
            raise WeightsError(
                f"{path}: the state of a stream with {shown(other)[1:-1]}, but this predictor has {self._settings}; "
                "give it the same"
            )
        try:
            self._predictor.pool.put(self.number, state)
            self._take_over(kept if "watch" not in kept else _of_version_2(kept))
        except LSNError as error:
            raise WeightsError(f"{path}: {error}; use another state, or start the stream without one") from error

    def _take_over(self, kept: Mapping[str, Tensor]) -> None:
        """Stands where the stream of these `_tensors` stood."""
        self._consensus.restore(_below(kept, "consensus."), num_classes=len(self._predictor.labels))
        self._detector.restore(_below(kept, "events."))
        self._watch.restore(_below(kept, "watch."))
        num_frames, is_reset = kept_tensor(kept, "stream", dtype=torch.int64, shape=[2]).tolist()
        if num_frames < 0:
            raise WeightsError(f"a damaged state of a stream ({num_frames} frames)")
        self._num_frames, self._reset_reason = num_frames, _BY_HAND if is_reset else None
        if "frame" in kept or "clock" in kept:  # neither is kept before the first frame
            self._clock.resume(self._position_in(kept))

    def _position_in(self, kept: Mapping[str, Tensor]) -> SamplerPosition[Tensor]:
        """Where the clock of a saved stream stood.

        Raises:
            WeightsError: no clock stands there.
        """
        frame_HWC = kept_tensor(kept, "frame", dtype=torch.uint8, shape=[None, None, 3])
        start, number, pts, end = kept_tensor(kept, "clock", dtype=torch.float64, shape=[4]).tolist()
        # A clock whose next tick is long past would make all ticks since then.
        is_sound = all(map(math.isfinite, (start, number, pts))) and not math.isinf(end) and number >= 0
        if not (is_sound and frame_HWC.numel()) or start + number / self._predictor.fps < pts - 1:
            raise WeightsError("a damaged state of a stream (its clock stands where none can)")
        return SamplerPosition(start, int(number), frame_HWC, pts, None if math.isnan(end) else end)

    def _answer(self, tick: Tick[Tensor]) -> StreamPrediction:
        answer = self._predictor.answer({self: tick})[self]
        if isinstance(answer, LSNError):
            raise answer
        return answer

    def _tensors(self) -> dict[str, Tensor]:
        kept = {
            **{f"consensus.{name}": tensor for name, tensor in self._consensus.tensors().items()},
            **{f"events.{name}": tensor for name, tensor in self._detector.tensors().items()},
            **{f"watch.{name}": tensor for name, tensor in self._watch.tensors().items()},
            "stream": torch.tensor([self._num_frames, self._reset_reason is not None]),
        }
        if (at := self._clock.position) is not None:
            end = math.nan if at.end_seconds is None else at.end_seconds
            kept["clock"] = torch.tensor([at.start_seconds, at.next_number, at.pts_seconds, end], dtype=torch.float64)
            kept["frame"] = at.frame
        return {f"{self._settings}/{name}": tensor for name, tensor in kept.items()}

    @property
    def _tick_seconds(self) -> float:
        return 1 / self._predictor.fps

    @property
    def _settings(self) -> str:
        return f"{self._predictor.fps:.6g} frames a second and consensus {self._predictor.consensus}"


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _of_version_2(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a state of format version 2 kept of its stream, as it is kept now."""
    watch, clock = (kept_tensor(kept, name, dtype=torch.float64, shape=[4]) for name in ("watch", "clock"))
    start, last, num_frames, has_start = watch.tolist()
    if not math.isfinite(num_frames):
        raise WeightsError(f"a damaged state of a stream ({num_frames} frames)")
    now = {
        "watch.times": torch.tensor([start, last, has_start], dtype=torch.float64),
        "stream": torch.tensor([int(num_frames), 0]),
    }
    if "frame" in kept:
        now["clock"] = torch.cat([clock[:3], torch.tensor([math.nan], dtype=torch.float64)])  # no end was kept
    return {name: tensor for name, tensor in kept.items() if name not in ("watch", "clock")} | now
