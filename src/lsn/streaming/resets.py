"""When the memory of a stream is reset: after a gap, at a cut, or every so often."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from lsn.errors import ConfigError, WeightsError
from lsn.streaming.snapshot_arrays import kept_array
from lsn.video.frame_sampler import Tick, check_above_zero


@dataclass(frozen=True)
class ResetRules:
    """What ends a stream's memory, besides a call of `reset`."""

    max_gap_seconds: float = 1.0
    """No frame for longer than this; until then the last one is held."""
    scene_cut: float | None = None
    """A cut: FFmpeg's scene score of a frame, 0 to 1, is above this (0.3 to 0.5 are usual); None looks for none."""
    every_seconds: float | None = None
    """So many seconds have passed; None is never."""

    def __post_init__(self) -> None:
        check_above_zero(max_gap_seconds=self.max_gap_seconds, every_seconds=self.every_seconds)
        if self.scene_cut is not None and not 0 < self.scene_cut < 1:
            raise ConfigError(f"scene_cut is {self.scene_cut}; it must be between 0 and 1")


class ResetDetector:
    """Applies the rules to one stream."""

    def __init__(self, rules: ResetRules) -> None:
        self.rules = rules
        self.start_seconds: float | None = None
        """Time of the first tick since the last reset; None before it."""
        self.last_seconds = 0.0
        """Time of the last tick."""
        self._cuts = None if rules.scene_cut is None else SceneCuts(rules.scene_cut)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it knows."""
        start = self.start_seconds
        times = np.array([start or 0.0, self.last_seconds, start is not None], dtype=np.float64)
        frames = () if self._cuts is None else self._cuts.frames
        return {"times": times, **{f"frame{number}": frame.copy() for number, frame in enumerate(frames)}}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` gave.

        Raises:
            WeightsError: these are not such arrays.
        """
        start, last, has_start = kept_array(arrays, "times", dtype=np.float64, shape=[3]).tolist()
        if not (math.isfinite(start) and math.isfinite(last)):
            raise WeightsError("a damaged state of a stream (its times are not finite)")
        self.start_seconds, self.last_seconds = (start if has_start else None), last
        if self._cuts is not None:
            for name in sorted(arrays.keys() - {"times"}):
                self._cuts.is_cut(kept_array(arrays, name, dtype=np.uint8, shape=[None, None, 3]))

    def reason(self, tick: Tick[np.ndarray]) -> str | None:
        """Why the stream is reset with this tick; None if it goes on. Must see every tick."""
        is_cut = self._cuts is not None and self._cuts.is_cut(tick.frame)
        reason = None
        if self.start_seconds is None:
            reason = "start"
        elif tick.is_discontinuity and not 0 < tick.seconds - self.last_seconds <= self.rules.max_gap_seconds:
            reason = "gap" if tick.seconds > self.last_seconds else "time went back"
        elif is_cut:
            reason = "scene cut"
        elif self.rules.every_seconds and tick.seconds - self.start_seconds >= self.rules.every_seconds - 1e-6:
            reason = f"{self.rules.every_seconds:g} seconds"
        if reason is not None:
            self.start_seconds = tick.seconds
        self.last_seconds = tick.seconds
        return reason


class SceneCuts:
    """Finds cuts with FFmpeg's `select` filter, which compares each frame with the one before."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.frames: tuple[np.ndarray, ...] = ()
        """The last two frames: another one that is given them finds the same cuts from then on."""
        self._size: tuple[int, ...] = ()
        self._num_frames = 0

    def is_cut(self, frame_HWC: np.ndarray) -> bool:
        """Whether a uint8 RGB frame begins another scene; the first one, and the first of another size, does not."""
        self.frames = (*self.frames[-1:], frame_HWC)
        image = np.ascontiguousarray(frame_HWC)
        is_first = self._size != image.shape
        if is_first:
            self._size, self._num_frames = image.shape, 0
            self._graph = self._build(av.VideoFrame.from_ndarray(image, "rgb24"))
        frame = av.VideoFrame.from_ndarray(image, "rgb24")
        frame.pts, self._num_frames = self._num_frames, self._num_frames + 1
        self._graph.push(frame)
        try:
            self._graph.pull()
        except av.BlockingIOError:  # not selected
            return False
        return not is_first

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
        )
        select = graph.add("select", f"gt(scene\\,{self._threshold})")
        graph.link_nodes(source, select, graph.add("buffersink")).configure()
        return graph
