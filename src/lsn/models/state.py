"""What a causal model carries from frame to frame: one record of tensors, whatever the memory.

Shapes: B streams, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lsn.models.memory.blocks import MemoryState

_NUM_FRAMES = "num_frames"
FRAME = "frame"


@dataclass(frozen=True, eq=False)
class StreamState:
    """Where B streams stand. Its size does not depend on how long they have run.

    Every tensor has one row per stream, so streams are picked, joined and moved row by row.
    """

    memory: Mapping[str, MemoryState]
    """Past and cell of each memory block, by number of its stage."""
    shifted: Mapping[str, Tensor]
    """BCHW: what the last frame leaves for the causal shift of each convolution, by the CNN's name for it; and under
    `FRAME` the frame itself, normalised, for a model that sees frame differences."""
    num_frames_B: Tensor
    """int64: frames that each stream has seen."""
    height: int
    """Of the frames, in pixels."""
    width: int
    """Of the frames, in pixels."""

    @property
    def batch_size(self) -> int:
        """Streams B."""
        return len(self.num_frames_B)

    @property
    def num_bytes(self) -> int:
        """Memory of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, by name."""
        flat = {f"memory.{key}.{name}": t for key, block in self.memory.items() for name, t in block._asdict().items()}
        return {**flat, **{f"shifted.{key}": t for key, t in self.shifted.items()}, _NUM_FRAMES: self.num_frames_B}

    def map(self, change: Callable[[Tensor], Tensor]) -> StreamState:
        """The state with every tensor changed, as by `tensor.to(device)` or `tensor.clone()`."""
        return self.with_tensors({name: change(tensor) for name, tensor in self.tensors().items()})

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> StreamState:
        """A state of the same kind with other tensors, by name."""
        return StreamState.from_tensors(tensors, height=self.height, width=self.width)

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], *, height: int, width: int) -> StreamState:
        """The state that gave these `tensors`; others among them are left out."""
        blocks = dict.fromkeys(name.split(".")[1] for name in tensors if name.startswith("memory."))
        return StreamState(
            {key: MemoryState(*(tensors[f"memory.{key}.{name}"] for name in MemoryState._fields)) for key in blocks},
            {name.removeprefix("shifted."): t for name, t in tensors.items() if name.startswith("shifted.")},
            tensors[_NUM_FRAMES],
            height=height,
            width=width,
        )

    def rows(self, streams: Sequence[int]) -> StreamState:
        """A copy of the rows of some streams, in that order."""
        index = torch.tensor(streams, dtype=torch.int64, device=self.num_frames_B.device)
        return self.map(lambda tensor: tensor.index_select(0, index))

    @property
    def channels(self) -> dict[str, tuple[int, ...]]:
        """Channels of each tensor that is carried, by name: what distinguishes the states of two models."""
        memory = {key: (block.past_BPHW.shape[1], block.cell_BDHW.shape[1]) for key, block in self.memory.items()}
        return memory | {key: (tensor.shape[1],) for key, tensor in self.shifted.items()}

    @staticmethod
    def outline_for(
        model: nn.Module, advance: Callable[[Tensor, None], tuple[Tensor, StreamState]], *, height: int, width: int
    ) -> StreamState:
        """A state of the right names, types and shapes without memory: on torch's meta device.

        They come from a run without numbers, which computes nothing.

        Raises:
            RuntimeError: the model cannot see frames of this size.
        """
        weights = {name: t.to("meta") for name, t in (*model.named_parameters(), *model.named_buffers())}
        probe = _StateOf(model, advance)
        clip_BTCHW = torch.empty(2, 1, 3, height, width, device="meta")  # of one, a norm in train mode has no variance
        return functional_call(probe, {f"model.{name}": t for name, t in weights.items()}, (clip_BTCHW,))


class _StateOf(nn.Module):
    """A model seen as a function from a clip to the state after it."""

    def __init__(self, model: nn.Module, advance: Callable[[Tensor, None], tuple[Tensor, StreamState]]) -> None:
        super().__init__()
        self.model, self.advance = model, advance

    @torch.no_grad()
    def forward(self, clip_BTCHW: Tensor) -> StreamState:
        return self.advance(clip_BTCHW, None)[1]
