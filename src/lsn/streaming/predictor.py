"""One trained model watching streams: the numbers of whole clips, one frame at a time, at constant cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.config import EventRules
from lsn.errors import ConfigError, LSNError
from lsn.inference.runtimes.names import RuntimeName
from lsn.inference.runtimes.opening import Weights, open_model
from lsn.streaming.engine import StreamEngine
from lsn.streaming.resets import ResetRules
from lsn.streaming.session import StreamSession
from lsn.streaming.settings import StreamSettings
from lsn.video.frame_sampler import check_above_zero

if TYPE_CHECKING:
    import torch

WIDE_RATES = 1.25
"""Rates of training clips that differ by more than this factor are reported as a range."""


class StreamingPredictor:
    """Recognises actions in streams as they happen. Everything is loaded, and all memory taken, at the start.

    Frames are taken by their timestamps at one rate. `open` gives a stream to push frames into; `StreamRunner` reads
    cameras, addresses, files and iterators.

    Args:
        weights: a weights folder (a run folder is one), the folder of an export, or a loaded model, which is not
            changed.
        capacity: streams at the same time, at most.
        runtime: what runs it: "pytorch", "compiled" (by PyTorch's compiler, now, so that no stream waits for it),
            "onnx" or "openvino" (as `lsn export` wrote it); by default PyTorch runs weights, and an export its own.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one; graphs run on the CPU.
        fps: frames per second that the model is given; by default the middle rate of its training clips.
        consensus: `cumulative` (what the clip that ends now would be called), `exponential:HALF_LIFE` or
            `sliding:WINDOW` in seconds; by default a window as long as what a training clip's answer is the mean of.
        resets: when the memory of a stream is reset.
        events: when probabilities are an event; by default as it was fitted for the weights.

    Raises:
        WeightsError: there is no such folder, or it holds no weights of this version, or no export of them.
        ModelError: the model cannot stream.
        ConfigError: a value is out of range, the rate is not known, or there is no such runtime or device.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        capacity: int = 1,
        runtime: RuntimeName | None = None,
        device: str | torch.device = "auto",
        fps: float | None = None,
        consensus: str | None = None,
        resets: ResetRules | None = None,
        events: EventRules | None = None,
    ) -> None:
        ready = open_model(weights, runtime, device=device)
        self.network = ready.runtime.network
        self.labels = ready.labels
        self.frame_rates = ready.frame_rates
        self.fps = self._default_fps() if fps is None else fps
        check_above_zero(fps=self.fps)
        num_frames = self.network.readout_frames or self.network.num_frames
        rules = events or ready.events or EventRules()
        self.settings = StreamSettings(
            labels=ready.labels,
            fps=self.fps,
            consensus=consensus or f"sliding:{num_frames / self.fps:.6g}",
            resets=resets or ResetRules(),
            events=replace(rules, multi_label=self.network.multi_label),
            size=ready.input.size,
            short_side=ready.input.short_side,
        )
        """How it watches every stream."""
        self.events = self.settings.events
        self.engine = StreamEngine(ready.runtime, capacity)

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
            name,
            engine=self.engine,
            tracker=self.settings.tracker(),
            sampler=self.settings.sampler(),
            transform=self.settings.view,
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
            seen = "streams" if self.network.readout_frames == 1 else f"clips of {self.network.num_frames} frames"
            known = f"its {seen} had {rates.median:.3g} in training{span}"
        return (
            f"{self.network.name} at {self.fps:.4g} frames per second ({known}); consensus {self.settings.consensus}; "
            f"{self.engine.bytes_per_stream:,} bytes of memory a stream"
        )

    def _default_fps(self) -> float:
        if self.frame_rates is None:
            raise ConfigError(
                f"the weights of {self.network.name} do not record the rate of the frames that they were trained on; "
                "give it: fps=8 (--fps 8) is 8 frames per second"
            )
        return self.frame_rates.median
