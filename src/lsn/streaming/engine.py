"""Many streams in one batch: at each step, those that have a frame advance together.

Shapes: C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lsn.errors import ConfigError, LSNError, ModelError
from lsn.models import Recognizer, StreamState
from lsn.streaming.snapshots import load_state, save_state, weights_fingerprint


@dataclass(frozen=True)
class EngineStep:
    """What one step gave, by slot."""

    logits: dict[int, np.ndarray]
    """float32, (K,): class scores after the frame."""
    errors: dict[int, LSNError]
    """Why a stream could not advance; its state is as before."""


class StreamEngine:
    """A model and a fixed number of slots for the states of streams.

    All memory is taken at the start. Streams come, go and are reset at any time, and have frames at any rate. No stream
    ever sees another's state or frames: its scores are what they would be alone, to the rounding of float32 (batches of
    different sizes may round differently).

    Args:
        model: in eval mode, on the device that is to compute.
        capacity: streams at the same time, at most.
        height: of the frames that the model sees, in pixels.
        width: likewise.
        fingerprint: of the weights as they were loaded, for snapshots; by default that of the model's own.

    Raises:
        ConfigError: the capacity is under 1.
        ModelError: the model cannot stream.
    """

    def __init__(
        self, model: Recognizer, capacity: int, *, height: int, width: int, fingerprint: str | None = None
    ) -> None:
        if capacity < 1:
            raise ConfigError(f"an engine for {capacity} streams; it must have at least 1 slot")
        self.model = model
        self.capacity = capacity
        self._fingerprint = fingerprint
        self._state = model.init_state(capacity, height, width)
        self._device = self._state.num_frames_B.device
        self._free = list(range(capacity))[::-1]
        self._rows: dict[int, int] = {}  # of the state, by slot
        self._num_acquired = 0

    @property
    def num_streams(self) -> int:
        """Slots that are in use."""
        return len(self._rows)

    @property
    def bytes_per_stream(self) -> int:
        """Memory that the state of one stream takes, whatever happens to it."""
        return self._state.num_bytes // self.capacity

    def acquire(self) -> int:
        """Takes a slot, before its first frame; returns its number, which no later stream of this engine will have.

        Raises:
            ConfigError: all slots are in use.
        """
        if not self._free:
            raise ConfigError(f"all {self.capacity} slots are in use; release one, or make the capacity larger")
        slot, self._num_acquired = self._num_acquired, self._num_acquired + 1
        self._rows[slot] = self._free.pop()
        self.reset(slot)
        return slot

    def release(self, slot: int) -> None:
        """Frees a slot.

        Raises:
            ConfigError: there is no such slot.
        """
        self._free.append(self._row(slot))
        del self._rows[slot]

    def reset(self, slot: int) -> None:
        """Clears the state of a slot, as before the first frame.

        Raises:
            ConfigError: there is no such slot.
        """
        row = self._row(slot)
        for tensor in self._state.tensors().values():
            tensor[row].zero_()

    def state(self, slot: int) -> StreamState:
        """A copy of the state of a slot, to be kept or moved to another engine.

        Raises:
            ConfigError: there is no such slot.
        """
        return self._state.rows([self._row(slot)])

    def put(self, slot: int, state: StreamState) -> None:
        """Replaces the state of a slot.

        Raises:
            ConfigError: there is no such slot.
            ModelError: the state is of another model or size, or of several streams.
        """
        self.model.check_state(state, batch_size=1, height=self._state.height, width=self._state.width)
        self._write([self._row(slot)], state)

    def save(self, slot: int, path: str | Path, extra: Mapping[str, np.ndarray]) -> None:
        """Writes the state of a slot, and arrays to keep with it, into a file.

        Raises:
            ConfigError: there is no such slot.
            WeightsError: they are too large for a file.
        """
        save_state(
            path, self.state(slot), model_name=self.model.name, fingerprint=self._weights_fingerprint(), extra=extra
        )

    def load(self, slot: int, path: str | Path) -> dict[str, np.ndarray]:
        """Replaces the state of a slot by one that was saved; returns the arrays that were kept with it.

        Raises:
            ConfigError: there is no such slot.
            WeightsError: the file cannot be read, is damaged, or of other weights or size.
        """
        state, extra = load_state(path, model=self.model, fingerprint=self._weights_fingerprint())
        self.put(slot, state)
        return extra

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Steps with one stream and with all, on noise, so that a compiled model is ready for any number and checked.

        No state changes.
        """
        generator = torch.Generator().manual_seed(0)
        for num_streams in sorted({1, self.capacity}):
            state = self._state.rows(list(range(num_streams)))
            shape = (num_streams, 3, state.height, state.width)
            self._step(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8), state)

    @torch.inference_mode()
    def step(self, frames: Mapping[int, np.ndarray]) -> EngineStep:
        """Advances the streams that have a frame; the others stay as they are.

        Args:
            frames: uint8 RGB CHW of the engine's size, by slot.

        Raises:
            ConfigError: there is no such slot.
        """
        errors: dict[int, LSNError] = {}
        for slot, frame_CHW in frames.items():
            if error := self._misfit(slot, frame_CHW):
                errors[slot] = error
        slots = [slot for slot in frames if slot not in errors]
        logits: dict[int, np.ndarray] = {}
        if slots:
            rows = [self._rows[slot] for slot in slots]
            frames_BCHW = torch.from_numpy(np.stack([frames[slot] for slot in slots]))
            logits_BK, after = self._step(frames_BCHW, self._state.rows(rows))
            finite = [b for b, is_finite in enumerate(logits_BK.isfinite().all(dim=1).tolist()) if is_finite]
            self._write([rows[b] for b in finite], after if len(finite) == len(rows) else after.rows(finite))
            logits = {slots[b]: logits_BK[b].numpy() for b in finite}
            for slot in slots:
                if slot not in logits:
                    errors[slot] = ModelError(
                        "the model's scores of a frame are not finite; the frame is left out. If it happens again, the "
                        "weights are damaged"
                    )
        return EngineStep(logits, errors)

    def _misfit(self, slot: int, frame_CHW: np.ndarray) -> ModelError | None:
        """Why a frame cannot be seen."""
        self._row(slot)
        shape = (3, self._state.height, self._state.width)
        if frame_CHW.shape == shape and frame_CHW.dtype == np.uint8:
            return None
        return ModelError(f"a frame of {frame_CHW.dtype} {frame_CHW.shape}; expected uint8 {shape}")

    def _step(self, frames_BCHW: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        logits_BK, after = self.model.step(frames_BCHW.to(self._device, non_blocking=True), state)
        return logits_BK.float().cpu(), after

    def _write(self, rows: list[int], state: StreamState) -> None:
        index = torch.tensor(rows, dtype=torch.int64, device=self._device)
        new = state.tensors()
        for name, tensor in self._state.tensors().items():
            tensor.index_copy_(0, index, new[name].to(tensor))

    def _row(self, slot: int) -> int:
        if slot not in self._rows:
            raise ConfigError(f"the engine has no slot {slot}; acquire gives the numbers of those that it has")
        return self._rows[slot]

    def _weights_fingerprint(self) -> str:
        if self._fingerprint is None:
            self._fingerprint = weights_fingerprint(self.model)
        return self._fingerprint
