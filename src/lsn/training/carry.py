"""Clips that do not start from nothing: the memory that one forward pass leaves, and that the next goes on from.

A stream is never at its start again, so a model that has only seen clips from their start on meets states there that it
was not trained on. Some clips therefore start from the state that another clip left.

Shapes: B clips, T frames, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lsn.distributed import World
from lsn.models import Recognizer, StreamState


class StatefulModel(nn.Module):
    """A causal network as it learns from streams: a clip, or a part of one, goes on from a state.

    A module and not a function, since `World.wrap` averages the gradients of what runs through its `forward`.

    Args:
        model: The network.
        every_frame: Give the scores of every frame, BTK, instead of those of the clip, BK.
    """

    def __init__(self, model: Recognizer, *, every_frame: bool = False) -> None:
        super().__init__()
        self.model, self.every_frame = model, every_frame

    def forward(self, clip_BTCHW: Tensor, state: StreamState | None) -> tuple[Tensor, StreamState]:
        """Class scores and the state after the last frame, without gradient."""
        logits_BTK, state = self.model.step(clip_BTCHW, state)
        scores = logits_BTK if self.every_frame else self.model.answer(logits_BTK)
        return scores, state.map(Tensor.detach)


class CarriedState:
    """The state that the last forward pass of a process left.

    Args:
        share: Share of the clips that start from it, 0 to 1; the others start from zeros.
        world: The processes of the run; each carries its own state.
    """

    def __init__(self, share: float, world: World) -> None:
        self.share, self.world = share, world
        self.state: StreamState | None = None

    def draw(self, batch_size: int) -> StreamState | None:
        """A start for so many clips, by torch's random numbers: rows of the state in any order, or zeros.

        No row is taken again before all others are. None before the first pass, which starts from zeros.
        """
        if self.state is None:
            return None
        num_rows = self.state.batch_size
        rows = torch.randperm(max(num_rows, batch_size))[:batch_size] % num_rows
        starts_anew_B = (torch.rand(batch_size) >= self.share).to(self.world.device)

        def clear(tensor: Tensor) -> Tensor:
            return tensor.masked_fill(starts_anew_B.view(-1, *[1] * (tensor.ndim - 1)), 0)

        return self.state.rows(rows.tolist()).map(clear)

    def keep(self, state: StreamState) -> None:
        """Takes what a pass left; a pass without clips leaves nothing, and the state before it stays."""
        if state.batch_size:
            self.state = state

    def state_dict(self) -> dict[str, Any]:
        """What every process carries, as plain data; all of them must call it."""
        return {"states": self.world.gather([None if self.state is None else _to_plain(self.state)])}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Takes over what this process carried."""
        mine = saved["states"][self.world.rank]
        self.state = None
        if mine is not None:
            state = StreamState.from_tensors(mine["tensors"], height=mine["height"], width=mine["width"])
            self.state = state.map(lambda tensor: tensor.to(self.world.device))


def _to_plain(state: StreamState) -> dict[str, Any]:
    tensors = {name: tensor.cpu() for name, tensor in state.tensors().items()}
    return {"tensors": tensors, "height": state.height, "width": state.width}
