"""One trained model watching streams: the numbers of whole clips, one frame at a time, at constant cost.

Shapes: C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lsn.errors import ConfigError, LSNError, VideoError
from lsn.hardware import resolve_device
from lsn.models.compile import compile_model
from lsn.models.fuse import fuse
from lsn.models.weights import LoadedModel, load_weights
from lsn.streaming.consensus import make_consensus
from lsn.streaming.engine import StreamEngine
from lsn.streaming.events import Event, EventRules
from lsn.streaming.resets import ResetRules
from lsn.streaming.session import Stream, StreamPrediction
from lsn.video.frame_sampler import FrameSampler, Tick
from lsn.video.transforms import EvalTransform

WIDE_RATES = 1.25
"""Rates of training clips that differ by more than this factor are told as a range."""


class StreamingPredictor:
    """Says what happens in streams while it happens. Everything is loaded, and all memory taken, at the start.

    Frames are taken by their timestamps at one rate. `open` gives a stream to push frames into; `StreamRunner` reads
    cameras, addresses, files and iterators.

    Args:
        weights: a weights folder (a run folder is one), or a loaded model, which is then moved to the device.
        capacity: streams at the same time, at most.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one.
        fps: frames a second that the model is given; by default the middle rate of its training clips.
        consensus: `cumulative` (what the clip that ends now would be called), `exponential:HALF_LIFE` or
            `sliding:WINDOW` in seconds; by default a window as long as what a training clip's answer is the mean of.
        resets: when a stream starts anew.
        events: when probabilities are an event.
        compile: run the network through PyTorch's compiler, now, so that no stream waits for it; see
            `lsn.models.compile`.

    Raises:
        WeightsError: there is no such folder, or it holds no weights of this version.
        ModelError: the model cannot stream.
        ConfigError: a value is out of range, or the rate is not known.
    """

    def __init__(
        self,
        weights: str | Path | LoadedModel,
        *,
        capacity: int = 1,
        device: str | torch.device = "auto",
        fps: float | None = None,
        consensus: str | None = None,
        resets: ResetRules | None = None,
        events: EventRules | None = None,
        compile: bool = False,
    ) -> None:
        self.device = resolve_device(device)
        loaded = weights if isinstance(weights, LoadedModel) else load_weights(weights)
        self.model = loaded.model.eval().to(self.device)
        self.labels = loaded.labels
        self.frame_rates = loaded.frame_rates
        self.fps = self._default_fps() if fps is None else fps
        self.resets, self.events = resets or ResetRules(), events or EventRules()
        self.clock()  # to refuse a wrong rate now
        num_frames = self.model.readout_frames or self.model.num_frames
        self.consensus = consensus or f"sliding:{num_frames / self.fps:.6g}"
        make_consensus(self.consensus)
        size = loaded.input.size
        self._transform = EvalTransform(size=size, short_side=loaded.input.short_side, num_crops=1)
        fused = fuse(self.model).to(memory_format=torch.channels_last)
        if compile:
            compile_model(fused, frozen=True)
        self.pool = StreamEngine(fused, capacity, height=size, width=size)
        if compile:
            self.pool.warm_up()

    def open(self, name: str = "stream", *, state: str | Path | None = None) -> Stream:
        """Takes a place for a stream.

        Args:
            name: what answers and errors call it.
            state: a file that `Stream.save` wrote, to go on from.

        Raises:
            ConfigError: all places are taken.
            WeightsError: the state cannot be read, or is of other weights or settings.
        """
        stream = Stream(self, self.pool.join(), name)
        if state is not None:
            try:
                stream.restore(state)
            except LSNError:
                self.close(stream)
                raise
        return stream

    def close(self, stream: Stream) -> None:
        """Gives the place of a stream back."""
        self.pool.leave(stream.number)

    def clock(self) -> FrameSampler[Tensor]:
        """A clock at the predictor's rate."""
        return FrameSampler(self.fps, longest_hold_seconds=self.resets.max_gap_seconds)

    def answer(
        self, ticks: Mapping[Stream, Tick[Tensor]], *, timings_ms: Mapping[Stream, Mapping[str, float]] | None = None
    ) -> dict[Stream, StreamPrediction | LSNError]:
        """One step of the model for all streams that have a tick; a stream that fails does not disturb the others.

        Args:
            ticks: uint8 RGB frames HWC on their moments.
            timings_ms: what was measured of each tick before, to be told with its answer.
        """
        begun: dict[Stream, tuple[str | None, list[Event]]] = {}
        views: dict[int, Tensor] = {}
        transform_ms: dict[Stream, float] = {}
        for stream, tick in ticks.items():
            start = time.perf_counter()
            begun[stream] = stream.begin(tick)
            views[stream.number] = self._transform(tick.frame.permute(2, 0, 1)[None])[0, 0]
            transform_ms[stream] = 1000 * (time.perf_counter() - start)
        start = time.perf_counter()
        told = self.pool.tick(views)
        model_ms = 1000 * (time.perf_counter() - start)
        answers: dict[Stream, StreamPrediction | LSNError] = {}
        for stream, tick in ticks.items():
            if stream.number in told.errors:
                error = told.errors[stream.number]
                answers[stream] = type(error)(f"{stream.name}, at {tick.seconds:.2f} s: {error}")
                continue
            reset, events = begun[stream]
            before = dict(timings_ms[stream]) if timings_ms is not None else {}
            answers[stream] = stream.take(
                tick,
                told.logits[stream.number],
                reset=reset,
                events=events,
                timings_ms=before | {"transform": transform_ms[stream], "model": model_ms},
            )
        return answers

    def describe(self) -> str:
        """One line for people: the rate and where it comes from, the consensus, and the memory of a stream."""
        rates = self.frame_rates
        known = "the weights do not tell the rate of their training clips"
        if rates is not None:
            wide = rates.high > WIDE_RATES * rates.low
            span = f", {rates.low:.3g} to {rates.high:.3g}" if wide else ""
            known = f"its clips of {self.model.num_frames} frames had {rates.median:.3g} in training{span}"
        return (
            f"{self.model.name} at {self.fps:.4g} frames a second ({known}); consensus {self.consensus}; "
            f"{self.pool.bytes_per_stream:,} bytes of memory a stream"
        )

    def checked(self, frame_HWC: Tensor | np.ndarray, name: str) -> Tensor:
        """A frame that was pushed, as a tensor.

        Raises:
            VideoError: it is not uint8 RGB of at least one pixel.
        """
        frame = torch.as_tensor(frame_HWC)
        if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise VideoError(
                f"{name}: a frame of {frame.dtype} {tuple(frame.shape)}; expected uint8 RGB of shape "
                "(height, width, 3) with at least one pixel"
            )
        return frame

    def _default_fps(self) -> float:
        if self.frame_rates is None:
            raise ConfigError(
                f"the weights of {self.model.name} do not tell the rate of the frames that they were trained on; "
                "give it: fps=8 (--fps 8) is 8 frames a second"
            )
        return self.frame_rates.median
