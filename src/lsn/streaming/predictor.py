"""One trained model watching streams: the numbers of whole clips, one frame at a time, at constant cost.

Shapes: C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lsn.config import EventRules
from lsn.errors import ConfigError, LSNError
from lsn.hardware import resolve_device
from lsn.inference.prepare import prepare_for_inference
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models.weights import LoadedModel, load_weights, weights_fingerprint
from lsn.streaming.engine import StreamEngine
from lsn.streaming.resets import ResetRules
from lsn.streaming.session import StreamSession
from lsn.streaming.tracker import StreamTracker
from lsn.video.frame_sampler import FrameSampler
from lsn.video.live.source import LiveFrame
from lsn.video.transforms import EvalTransform

WIDE_RATES = 1.25
"""Rates of training clips that differ by more than this factor are reported as a range."""


class StreamingPredictor:
    """Recognises actions in streams as they happen. Everything is loaded, and all memory taken, at the start.

    Frames are taken by their timestamps at one rate. `open` gives a stream to push frames into; `StreamRunner` reads
    cameras, addresses, files and iterators.

    Args:
        weights: a weights folder (a run folder is one), or a loaded model, which is not changed.
        capacity: streams at the same time, at most.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one.
        fps: frames per second that the model is given; by default the middle rate of its training clips.
        consensus: `cumulative` (what the clip that ends now would be called), `exponential:HALF_LIFE` or
            `sliding:WINDOW` in seconds; by default a window as long as what a training clip's answer is the mean of.
        resets: when the memory of a stream is reset.
        events: when probabilities are an event; by default as it was fitted for the weights.
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
        device = resolve_device(device)
        loaded = weights if isinstance(weights, LoadedModel) else load_weights(weights)
        self.model = loaded.model
        self.labels = loaded.labels
        self.frame_rates = loaded.frame_rates
        self.fps = self._default_fps() if fps is None else fps
        self.resets, self.events = resets or ResetRules(), events or loaded.events or EventRules()
        self.events = replace(self.events, multi_label=self.model.multi_label)
        self._sampler()  # to refuse a wrong rate now
        num_frames = self.model.readout_frames or self.model.num_frames
        self.consensus = consensus or f"sliding:{num_frames / self.fps:.6g}"
        self._tracker()  # likewise, what it is made of
        self._transform = EvalTransform(size=loaded.input.size, short_side=loaded.input.short_side, num_crops=1)
        runtime = PyTorchRuntime(
            prepare_for_inference(self.model, device=device, compile=compile),
            height=loaded.input.size,
            width=loaded.input.size,
            fingerprint=weights_fingerprint(self.model),
        )
        self.engine = StreamEngine(runtime, capacity)
        if compile:
            runtime.warm_up(capacity)

    def open(self, name: str = "stream", *, state: str | Path | None = None) -> StreamSession:
        """Opens a stream.

        Args:
            name: what answers and errors call it.
            state: a file that `StreamSession.save` wrote, to continue from.

        Raises:
            ConfigError: all slots are in use.
            WeightsError: the state cannot be read, or is of other weights or settings.
        """
        session = StreamSession(
            name, engine=self.engine, tracker=self._tracker(), sampler=self._sampler(), transform=self._view
        )
        if state is not None:
            try:
                session.restore(state)
            except LSNError:
                session.close()
                raise
        return session

    def describe(self) -> str:
        """One line for people: the rate and where it comes from, the consensus, and the memory of a stream."""
        rates = self.frame_rates
        known = "the weights do not state the rate of their training clips"
        if rates is not None:
            wide = rates.high > WIDE_RATES * rates.low
            span = f", {rates.low:.3g} to {rates.high:.3g}" if wide else ""
            seen = "streams" if self.model.readout_frames == 1 else f"clips of {self.model.num_frames} frames"
            known = f"its {seen} had {rates.median:.3g} in training{span}"
        return (
            f"{self.model.name} at {self.fps:.4g} frames per second ({known}); consensus {self.consensus}; "
            f"{self.engine.bytes_per_stream:,} bytes of memory a stream"
        )

    def _tracker(self) -> StreamTracker:
        return StreamTracker(
            self.labels, fps=self.fps, consensus=self.consensus, resets=self.resets, events=self.events
        )

    def _sampler(self) -> FrameSampler[LiveFrame]:
        return FrameSampler(self.fps, longest_hold_seconds=self.resets.max_gap_seconds)

    def _view(self, frame_HWC: np.ndarray) -> np.ndarray:
        """What the model sees of a frame, uint8 CHW."""
        frames_TCHW = torch.from_numpy(np.require(frame_HWC, requirements=("C", "W"))).permute(2, 0, 1)[None]
        return self._transform(frames_TCHW)[0, 0].numpy()

    def _default_fps(self) -> float:
        if self.frame_rates is None:
            raise ConfigError(
                f"the weights of {self.model.name} do not record the rate of the frames that they were trained on; "
                "give it: fps=8 (--fps 8) is 8 frames per second"
            )
        return self.frame_rates.median
