"""A model that PyTorch runs, compiled or not.

Shapes: B streams, C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from lsn.models import Recognizer, StreamState
from lsn.models.forward import eval_mode
from lsn.models.weights import weights_fingerprint
from lsn.tensor_file import TensorKind


class PyTorchRuntime:
    """A `Runtime`.

    Args:
        model: in eval mode, on the device that is to compute, such as `prepare_for_inference` makes.
        height: of the frames, in pixels.
        width: likewise.
        fingerprint: of the weights as they were loaded; by default that of the model's own.
        warms_up: steps on noise when memory is allocated, so that a compiled model is ready, and checked.

    Raises:
        ModelError: the model cannot see frames of this size.
    """

    def __init__(
        self, model: Recognizer, *, height: int, width: int, fingerprint: str | None = None, warms_up: bool = False
    ) -> None:
        self.network, self.height, self.width = model, height, width
        self._fingerprint, self._warms_up = fingerprint, warms_up
        self._outline = model.outline_state(height, width) if model.is_causal else None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    @cached_property
    def fingerprint(self) -> str:
        """As of `Runtime`."""
        return weights_fingerprint(self.network) if self._fingerprint is None else self._fingerprint

    @cached_property
    def state_kinds(self) -> Mapping[str, TensorKind]:
        """As of `Runtime`."""
        tensors = {} if self._outline is None else self._outline.tensors()
        kinds = {name: TensorKind.of(tensor) for name, tensor in tensors.items()}
        return {name: TensorKind(kind.dtype, (1, *kind.shape[1:])) for name, kind in kinds.items()}

    def allocate(self, num_rows: int) -> PyTorchStates:
        """As of `Runtime`."""
        states = PyTorchStates(self.network, self.network.init_state(num_rows, self.height, self.width))
        if self._warms_up:
            self._warm_up(num_rows)
        return states

    def forward_frames(self, clips_BTCHW: np.ndarray) -> np.ndarray:
        """As of `Runtime`; the network comes back in the mode, training or not, that it was in."""
        with eval_mode(self.network):
            logits_BTK = self.network.forward_frames(torch.from_numpy(clips_BTCHW).to(self.device, non_blocking=True))
            return logits_BTK.float().cpu().numpy()

    @torch.inference_mode()
    def _warm_up(self, num_rows: int) -> None:
        """Steps with one stream and with so many: a compiled model is then ready for any number. No state changes."""
        generator = torch.Generator().manual_seed(0)
        for batch_size in sorted({1, num_rows}):
            state = self.network.init_state(batch_size, self.height, self.width)
            shape = (batch_size, 3, self.height, self.width)
            frames_BCHW = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            self.network.step(frames_BCHW.to(state.num_frames_B.device), state)


class PyTorchStates:
    """`StreamStates` on the model's device."""

    def __init__(self, model: Recognizer, state: StreamState) -> None:
        self._model, self._state = model, state
        self._device = state.num_frames_B.device

    @property
    def num_bytes(self) -> int:
        """As of `StreamStates`."""
        return self._state.num_bytes

    def clear(self, row: int) -> None:
        """As of `StreamStates`."""
        for tensor in self._state.tensors().values():
            tensor[row].zero_()

    def read(self, row: int) -> dict[str, np.ndarray]:
        """As of `StreamStates`."""
        return {name: tensor.cpu().numpy() for name, tensor in self._state.rows([row]).tensors().items()}

    def write(self, row: int, state: Mapping[str, np.ndarray]) -> None:
        """As of `StreamStates`."""
        self._write([row], self._state.with_tensors({name: torch.from_numpy(array) for name, array in state.items()}))

    @torch.inference_mode()
    def step(self, rows: Sequence[int], frames_BCHW: np.ndarray) -> np.ndarray:
        """As of `StreamStates`."""
        frames = torch.from_numpy(frames_BCHW).to(self._device, non_blocking=True)
        logits_BK, after = self._model.step(frames, self._state.rows(rows))
        logits_BK = logits_BK.float().cpu()
        finite = [b for b, is_finite in enumerate(logits_BK.isfinite().all(dim=1).tolist()) if is_finite]
        self._write([rows[b] for b in finite], after if len(finite) == len(rows) else after.rows(finite))
        return logits_BK.numpy()

    def _write(self, rows: Sequence[int], state: StreamState) -> None:
        index = torch.tensor(rows, dtype=torch.int64, device=self._device)
        new = state.tensors()
        for name, tensor in self._state.tensors().items():
            tensor.index_copy_(0, index, new[name].to(tensor))
