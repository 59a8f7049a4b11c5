"""Many streams in one batch: at each step, those that have a frame advance together.

Shapes: C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsn.errors import ConfigError, LSNError, ModelError
from lsn.inference.runtimes.contract import Runtime
from lsn.streaming.snapshots import load_state, save_state
from lsn.tensor_file import TensorKind


@dataclass(frozen=True)
class EngineStep:
    """What one step gave, by slot."""

    logits: dict[int, np.ndarray]
    """float32, (K,): class scores after the frame."""
    errors: dict[int, LSNError]
    """Why a stream could not advance; its state is as before."""

    def logits_of(self, slot: int) -> np.ndarray:
        """Those of one slot.

        Raises:
            LSNError: the stream could not advance.
        """
        if slot in self.errors:
            raise self.errors[slot]
        return self.logits[slot]


class StreamEngine:
    """A model and a fixed number of slots for the states of streams.

    All memory is taken at the start. Streams come, go and are reset at any time, and have frames at any rate. No stream
    ever sees another's state or frames: its scores are what they would be alone, to the rounding of float32 (batches of
    different sizes may round differently).

    Args:
        runtime: runs the model.
        capacity: streams at the same time, at most.

    Raises:
        ConfigError: the capacity is under 1.
        ModelError: the model cannot stream.
    """

    def __init__(self, runtime: Runtime, capacity: int) -> None:
        if capacity < 1:
            raise ConfigError(f"an engine for {capacity} streams; it must have at least 1 slot")
        self.runtime = runtime
        self.capacity = capacity
        self._states = runtime.allocate(capacity)
        self._free = list(range(capacity))[::-1]
        self._rows: dict[int, int] = {}  # of the states, by slot
        self._num_acquired = 0

    @property
    def num_streams(self) -> int:
        """Slots that are in use."""
        return len(self._rows)

    @property
    def bytes_per_stream(self) -> int:
        """Memory that the state of one stream takes, whatever happens to it."""
        return self._states.num_bytes // self.capacity

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
        self._states.clear(self._row(slot))

    def state(self, slot: int) -> dict[str, np.ndarray]:
        """A copy of the state of a slot by name, to be kept or moved to another engine.

        Raises:
            ConfigError: there is no such slot.
        """
        return self._states.read(self._row(slot))

    def put(self, slot: int, state: Mapping[str, np.ndarray]) -> None:
        """Replaces the state of a slot.

        Raises:
            ConfigError: there is no such slot.
            ModelError: the state is of another model or size.
        """
        expected = self.runtime.state_kinds
        for name in sorted(expected.keys() | state.keys()):
            found = TensorKind.of(state[name]) if name in state else None
            if found != expected.get(name):
                raise ModelError(
                    f"the state is of another model or size than {self.runtime.network.name} has here ({name} is "
                    f"{found or 'missing'}, expected {expected.get(name, 'none')}); put one that `state` gave"
                )
        self._states.write(self._row(slot), state)

    def save(self, slot: int, path: str | Path, extra: Mapping[str, np.ndarray]) -> None:
        """Writes the state of a slot, and arrays to keep with it, into a file.

        Raises:
            ConfigError: there is no such slot.
            WeightsError: they are too large for a file.
        """
        save_state(path, self.state(slot), runtime=self.runtime, extra=extra)

    def load(self, slot: int, path: str | Path) -> dict[str, np.ndarray]:
        """Replaces the state of a slot by one that was saved; returns the arrays that were kept with it.

        Raises:
            ConfigError: there is no such slot.
            WeightsError: the file cannot be read, is damaged, or of other weights or size.
        """
        state, extra = load_state(path, runtime=self.runtime)
        self._states.write(self._row(slot), state)
        return extra

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
            logits_BK = self._states.step(rows, np.stack([frames[slot] for slot in slots]))
            for slot, logits_K in zip(slots, logits_BK, strict=True):
                if np.isfinite(logits_K).all():
                    logits[slot] = logits_K
                else:
                    errors[slot] = ModelError(
                        "the model's scores of a frame are not finite; the frame is left out. If it happens again, the "
                        "weights are damaged"
                    )
        return EngineStep(logits, errors)

    def _misfit(self, slot: int, frame_CHW: np.ndarray) -> ModelError | None:
        """Why a frame cannot be seen."""
        self._row(slot)
        shape = (3, self.runtime.height, self.runtime.width)
        if frame_CHW.shape == shape and frame_CHW.dtype == np.uint8:
            return None
        return ModelError(f"a frame of {frame_CHW.dtype} {frame_CHW.shape}; expected uint8 {shape}")

    def _row(self, slot: int) -> int:
        if slot not in self._rows:
            raise ConfigError(f"the engine has no slot {slot}; acquire gives the numbers of those that it has")
        return self._rows[slot]
