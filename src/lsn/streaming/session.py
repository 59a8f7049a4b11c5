"""One stream as a program holds it: its sampler, its slot in the engine, and its tracker.

Shapes: H height, W width, C = 3 channels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lsn.errors import LSNError, VideoError, WeightsError, shown
from lsn.streaming.events import EventReport
from lsn.streaming.prediction import StreamPrediction
from lsn.streaming.snapshot_arrays import kept_array
from lsn.streaming.tracker import StreamTracker
from lsn.video.frame_sampler import FrameSampler, SamplerPosition, Tick
from lsn.video.live.source import LiveFrame, frame_array

if TYPE_CHECKING:
    from lsn.streaming.engine import EngineStep, StreamEngine


class StreamSession:
    """A stream; `StreamingPredictor.open` makes it. Give it frames with `push`, or let a `StreamRunner` drive it.

    It stands at the last answered tick and at the frames pushed since then. A stream that was restored, or whose source
    was finished, joins the times of the next source to those before; see `FrameSampler`. What it keeps does not grow,
    however long it runs.

    Args:
        name: what answers and errors call it.
        engine: runs the model; a slot of it is the session's until `close`.
        tracker: of this stream alone.
        sampler: likewise, at the tracker's rate.
        transform: from a frame, uint8 HWC, to what the model sees of it, uint8 CHW.

    Raises:
        ConfigError: all slots of the engine are in use.
    """

    def __init__(
        self,
        name: str,
        *,
        engine: StreamEngine,
        tracker: StreamTracker,
        sampler: FrameSampler[LiveFrame],
        transform: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.name = name
        self.sampler = sampler
        """The clock of the stream; while a thread drives it, it is ahead of the session."""
        self.engine = engine
        self.slot = engine.acquire()
        self._tracker = tracker
        self.view = transform
        """From a frame, uint8 HWC, to what the model sees of it, uint8 CHW; any thread may call it."""
        self._position: SamplerPosition[np.ndarray] | None = None

    @property
    def seconds(self) -> float:
        """Time of the last tick, on the clock of the stream."""
        return self._tracker.seconds

    @property
    def pts_seconds(self) -> float | None:
        """When the last frame came on screen that an answer has seen, on the clock of the stream; None before one."""
        return None if self._position is None else self._position.pts_seconds

    @property
    def end_seconds(self) -> float:
        """When its source ended, on the clock of the stream; the time of the last tick if it goes on, or was left."""
        at = self._position
        return self.seconds if at is None or at.end_seconds is None else at.end_seconds

    def push(self, seconds: float, frame_HWC: np.ndarray) -> list[StreamPrediction]:
        """Takes the next frame and its time; returns the answers at the ticks up to it, often none or one.

        The frame on screen at a tick is known when the next one comes, so answers are one frame behind. A frame that
        is no later than the one before is left out.

        Args:
            seconds: when the frame comes on screen, on the clock of its source.
            frame_HWC: uint8 RGB, an array or a tensor of PyTorch.

        Raises:
            VideoError: the frame is not uint8 RGB of at least one pixel; the stream stays as it was.
            ModelError: the model's scores are not finite; the frame is left out.
        """
        try:
            array_HWC = frame_array(frame_HWC).copy()  # cameras often put the next one into the same memory
        except VideoError as error:
            raise VideoError(f"{self.name}: a pushed frame is {error}") from None
        frame = LiveFrame(seconds, lambda: array_HWC)
        try:
            return [self._answer(tick) for tick in self.sampler.push(seconds, frame)]
        finally:
            self._position = _shown(self.sampler.position)

    def finish(self, end_seconds: float) -> tuple[list[StreamPrediction], list[EventReport]]:
        """Ends the source: its last frame went off screen; returns the last answers, and the events that end there.

        The stream can be saved and continued with another source; see `ongoing_events`.
        """
        answers = [self._answer(tick) for tick in self.sampler.finish(end_seconds)]
        self._position = _shown(self.sampler.position)
        return answers, self.ongoing_events(end_seconds if self._position is None else self.end_seconds)

    def ongoing_events(self, seconds: float) -> list[EventReport]:
        """The events that are going on, as they are if the stream ends here.

        If it is continued they go on too, and each is reported again, whole, when it ends.
        """
        return self._tracker.ongoing_events(seconds)

    def leave_source(self, position: SamplerPosition[np.ndarray] | None) -> None:
        """The thread that drove the sampler has ended.

        Args:
            position: where the sampler stood when the source ended; None if it was left before its end, and the session
                stands at the last answered tick.
        """
        self._stand_at(position or self._position)

    def reset(self) -> None:
        """Clears memory and consensus before the next frame."""
        self._tracker.reset()

    def close(self) -> None:
        """Frees the slot; the session cannot be used afterwards."""
        self.engine.release(self.slot)

    def begin(self, tick: Tick[np.ndarray]) -> np.ndarray:
        """Resets the stream if a rule says so; returns what the model is to see of the tick, uint8 CHW."""
        if self._tracker.begin(tick):
            self.engine.reset(self.slot)
        return self.view(tick.frame) if tick.view is None else tick.view

    def complete(
        self, tick: Tick[np.ndarray], step: EngineStep, timings_ms: Mapping[str, float], *, batch_size: int
    ) -> StreamPrediction | LSNError:
        """Makes the answer of a tick that has begun from the engine's step."""
        if (error := step.errors.get(self.slot)) is not None:
            return type(error)(f"{self.name}, at {tick.seconds:.2f} s: {error}")
        tracked = self._tracker.update(tick, step.logits[self.slot])
        self._position = tick.position
        return StreamPrediction(
            stream=self.name,
            seconds=tick.seconds,
            pts_seconds=tick.pts_seconds,
            labels=self._tracker.labels,
            probabilities=tracked.probabilities_K,
            frame_probabilities=tracked.frame_probabilities_K,
            num_frames=tracked.num_frames,
            reset=tracked.reset,
            events=tracked.events,
            frame_HWC=tick.frame,
            timings_ms=timings_ms,
            batch_size=batch_size,
        )

    def save(self, path: str | Path) -> None:
        """Writes a snapshot of the whole session: memory, consensus, ongoing events, and sampler.

        `StreamingPredictor.open(state=path)` continues from it, in this or another process, with the same numbers.
        """
        kept = self._tracker.arrays()
        if (at := self._position) is not None:
            end = math.nan if at.end_seconds is None else at.end_seconds
            kept["clock"] = np.array([at.start_seconds, at.next_number, at.pts_seconds, end], dtype=np.float64)
            kept["frame"] = at.frame
        settings = self._tracker.settings
        self.engine.save(self.slot, path, {f"{settings}/{name}": array for name, array in kept.items()})

    def restore(self, path: str | Path) -> None:
        """Continues from a snapshot.

        Raises:
            WeightsError: the file is no snapshot, of other weights, or of a stream with another rate or consensus.
        """
        settings = self._tracker.settings
        try:
            extra = self.engine.load(self.slot, path)
        except LSNError as error:
            raise WeightsError(_with_remedy(path, error)) from error
        kept = {name.removeprefix(f"{settings}/"): a for name, a in extra.items() if name.startswith(f"{settings}/")}
        if not kept:
            other = next(iter(extra), "unknown settings/").rpartition("/")[0]
            raise WeightsError(
                f"{path}: the state of a stream with {shown(other)[1:-1]}, but this predictor has {settings}; "
                "give it the same"
            )
        try:
            self._tracker.restore(kept)
            if "clock" in kept or "frame" in kept:  # neither is kept before the first frame
                self._stand_at(_position_in(kept, fps=self.sampler.fps))
        except LSNError as error:
            raise WeightsError(_with_remedy(path, error)) from error

    def _answer(self, tick: Tick[LiveFrame]) -> StreamPrediction:
        seen = tick.with_frame(tick.frame.rgb())
        answer = advance({self: seen})[self]
        if isinstance(answer, LSNError):
            raise answer
        return answer

    def _stand_at(self, position: SamplerPosition[np.ndarray] | None) -> None:
        self._position = position
        self.sampler.resume(None if position is None else position.map(_as_live))


def advance(
    ticks: Mapping[StreamSession, Tick[np.ndarray]],
    *,
    timings_ms: Mapping[StreamSession, Mapping[str, float]] | None = None,
) -> dict[StreamSession, StreamPrediction | LSNError]:
    """One step of the engine for all sessions that have a tick; one that fails does not disturb the others.

    Args:
        ticks: uint8 RGB frames HWC with their times, of sessions of one engine.
        timings_ms: what was measured of each tick before, to be reported with its answer.
    """
    if not ticks:
        return {}
    views: dict[int, np.ndarray] = {}
    spent_ms: dict[StreamSession, dict[str, float]] = {}
    for session, tick in ticks.items():
        start = time.perf_counter()
        views[session.slot] = session.begin(tick)
        before = {} if timings_ms is None else timings_ms[session]
        spent_ms[session] = {**before, "transform": 1000 * (time.perf_counter() - start)}
    start = time.perf_counter()
    step = next(iter(ticks)).engine.step(views)
    model_ms = 1000 * (time.perf_counter() - start)
    return {
        session: session.complete(tick, step, {**spent_ms[session], "model": model_ms}, batch_size=len(ticks))
        for session, tick in ticks.items()
    }


def _shown(position: SamplerPosition[LiveFrame] | None) -> SamplerPosition[np.ndarray] | None:
    return None if position is None else position.map(LiveFrame.rgb)


def _as_live(frame_HWC: np.ndarray) -> LiveFrame:
    return LiveFrame(math.nan, lambda: frame_HWC)


def _position_in(kept: Mapping[str, np.ndarray], *, fps: float) -> SamplerPosition[np.ndarray]:
    """Where the sampler of a saved stream stood.

    Raises:
        WeightsError: no sampler stands there.
    """
    frame_HWC = kept_array(kept, "frame", dtype=np.uint8, shape=[None, None, 3])
    start, number, pts, end_seconds = kept_array(kept, "clock", dtype=np.float64, shape=[4]).tolist()
    # A sampler whose next tick is long past would make all ticks since then.
    is_sound = all(map(math.isfinite, (start, number, pts))) and not math.isinf(end_seconds) and number >= 0
    if not (is_sound and frame_HWC.size) or start + number / fps < pts - 1:
        raise WeightsError("a damaged state of a stream (its clock stands where none can)")
    return SamplerPosition(start, int(number), frame_HWC, pts, None if math.isnan(end_seconds) else end_seconds)


def _with_remedy(path: str | Path, error: LSNError) -> str:
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}; use another state, or start the stream without one"
