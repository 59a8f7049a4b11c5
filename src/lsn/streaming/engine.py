"""Many streams in one batch: each tick, those that have a frame go on together.

Shapes: C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lsn.errors import ConfigError, LSNError, ModelError
from lsn.models import Recognizer, StreamState


@dataclass(frozen=True)
class EngineStep:
    """What one tick gave, by number of the stream."""

    logits: dict[int, Tensor]
    """float32 on the CPU, (K,): class scores after the frame."""
    errors: dict[int, LSNError]
    """Why a stream could not go on; it stands where it stood."""


class StreamEngine:
    """A fixed number of places for streams that share one model.

    All memory is taken at the start. Streams join, leave and start anew at any time, and have frames at any rate. No
    stream ever sees another's state or frames: what it is told is what it would be told alone, to the rounding of
    float32 (batches of different sizes may round differently).

    Args:
        model: in eval mode, on the device that is to compute.
        capacity: streams at the same time, at most.
        height: of the frames that the model sees, in pixels.
        width: likewise.

    Raises:
        ConfigError: the capacity is under 1.
        ModelError: the model cannot stream.
    """

    def __init__(self, model: Recognizer, capacity: int, *, height: int, width: int) -> None:
        if capacity < 1:
            raise ConfigError(f"a pool of {capacity} streams; it must have at least 1 place")
        self.model = model
        self.capacity = capacity
        self._state = model.init_state(capacity, height, width)
        self._device = self._state.num_frames_B.device
        self._free = list(range(capacity))[::-1]
        self._rows: dict[int, int] = {}  # of the state, by number of the stream
        self._num_joined = 0

    @property
    def num_streams(self) -> int:
        """Streams that have joined and not left."""
        return len(self._rows)

    @property
    def bytes_per_stream(self) -> int:
        """Memory that the state of one stream takes, whatever happens to it."""
        return self._state.num_bytes // self.capacity

    def join(self) -> int:
        """Takes a place; returns the stream's number, which no other stream of this pool will have.

        Raises:
            ConfigError: all places are taken.
        """
        if not self._free:
            raise ConfigError(
                f"all {self.capacity} places of the pool are taken; let a stream leave, or make it larger"
            )
        number, self._num_joined = self._num_joined, self._num_joined + 1
        self._rows[number] = self._free.pop()
        self.reset(number)
        return number

    def leave(self, stream: int) -> None:
        """Gives the place of a stream back.

        Raises:
            ConfigError: there is no such stream.
        """
        self._free.append(self._row(stream))
        del self._rows[stream]

    def reset(self, stream: int) -> None:
        """Puts a stream before its first frame.

        Raises:
            ConfigError: there is no such stream.
        """
        row = self._row(stream)
        for tensor in self._state.tensors().values():
            tensor[row].zero_()

    def state(self, stream: int) -> StreamState:
        """A copy of where a stream stands, to be kept, moved to another pool or gone on with twice.

        Raises:
            ConfigError: there is no such stream.
        """
        return self._state.rows([self._row(stream)])

    def put(self, stream: int, state: StreamState) -> None:
        """Makes a stream stand where another one stood.

        Raises:
            ConfigError: there is no such stream.
            ModelError: the state is of another model or size, or of several streams.
        """
        self.model.check_state(state, batch_size=1, height=self._state.height, width=self._state.width)
        self._write([self._row(stream)], state)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Steps with one stream and with all, on noise, so that a compiled model is ready for any number and checked.

        No stream moves.
        """
        generator = torch.Generator().manual_seed(0)
        for num_streams in sorted({1, self.capacity}):
            state = self._state.rows(list(range(num_streams)))
            shape = (num_streams, 3, state.height, state.width)
            self._step(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8), state)

    @torch.inference_mode()
    def tick(self, frames: Mapping[int, Tensor]) -> EngineStep:
        """One step for the streams that have a frame; the others stand still.

        Args:
            frames: uint8 RGB CHW of the pool's size, by number of the stream.

        Raises:
            ConfigError: there is no such stream.
        """
        shape = (3, self._state.height, self._state.width)
        errors: dict[int, LSNError] = {}
        for stream, frame_CHW in frames.items():
            self._row(stream)
            if tuple(frame_CHW.shape) != shape or frame_CHW.dtype != torch.uint8:
                errors[stream] = ModelError(
                    f"stream {stream}: a frame of {frame_CHW.dtype} {tuple(frame_CHW.shape)}; "
                    f"expected torch.uint8 {shape}"
                )
        streams = [stream for stream in frames if stream not in errors]
        logits: dict[int, Tensor] = {}
        if streams:
            rows = [self._rows[stream] for stream in streams]
            logits_BK, after = self._step(torch.stack([frames[stream] for stream in streams]), self._state.rows(rows))
            good = [place for place, finite in enumerate(logits_BK.isfinite().all(dim=1).tolist()) if finite]
            self._write([rows[place] for place in good], after if len(good) == len(rows) else after.rows(good))
            logits = {streams[place]: logits_BK[place] for place in good}
            for stream in streams:
                if stream not in logits:
                    errors[stream] = ModelError(
                        f"stream {stream}: the model's scores of a frame are not finite; the frame is left out. If "
                        "it happens again, the weights are damaged"
                    )
        return EngineStep(logits, errors)

    def _step(self, frames_BCHW: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        logits_BK, after = self.model.step(frames_BCHW.to(self._device, non_blocking=True), state)
        return logits_BK.float().cpu(), after

    def _write(self, rows: list[int], state: StreamState) -> None:
        index = torch.tensor(rows, dtype=torch.int64, device=self._device)
        new = state.tensors()
        for name, tensor in self._state.tensors().items():
            tensor.index_copy_(0, index, new[name].to(tensor))

    def _row(self, stream: int) -> int:
        if stream not in self._rows:
            raise ConfigError(f"the pool has no stream {stream}; join gives the numbers of those that it has")
        return self._rows[stream]
