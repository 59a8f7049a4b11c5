"""A GRU on pooled features: what online action detection puts behind a CNN, and the control for a memory of maps.

Source: Cho et al., EMNLP 2014, for the unit; An et al., MiniROAD, ICCV 2023, and Hong et al., E2E-Spot, ECCV 2022, for
one GRU on the features of every frame.

Shapes: B clips, T frames, C channels, D hidden channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lsn.models.memory.blocks import MemoryState, require_positive


class PooledGRU(nn.Module):
    """Residual GRU block: reads the mean of each feature map, and adds what it knows to every pixel of it.

    Before the average pooling of a CNN's head this is the same as a GRU on the pooled features, added to them.
    `block(x_BTCHW, state=None) -> (y_BTCHW, state)`, as the other memory blocks.

    Args:
        channels: channels C of the feature map.
        reduction: C over hidden channels D.
        zero_init: start as the identity, so that a pretrained CNN around it stays pretrained.

    Raises:
        ModelError: an argument is out of range.
    """

    cell_channels = 0
    """A GRU has no cell besides its hidden state."""

    def __init__(self, channels: int, *, reduction: int = 2, zero_init: bool = True) -> None:
        super().__init__()
        require_positive(channels=channels, reduction=reduction)
        self.past_channels = max(1, channels // reduction)
        self.cell = nn.GRUCell(channels, self.past_channels)
        self.expand = nn.Linear(self.past_channels, channels, bias=False)
        if zero_init:
            nn.init.zeros_(self.expand.weight)

    def init_state(self, batch_size: int, height: int, width: int) -> MemoryState:
        """The state before the first frame: zeros; the size of the maps does not matter."""
        weight = self.expand.weight
        return MemoryState(
            weight.new_zeros(batch_size, self.past_channels, 1, 1),
            weight.new_zeros(batch_size, self.cell_channels, 1, 1),
        )

    def forward(self, x_BTCHW: Tensor, state: MemoryState | None = None) -> tuple[Tensor, MemoryState]:
        """Reads the frames in order; returns the frames with the memory added, and the state after the last."""
        B, T, _, H, W = x_BTCHW.shape
        past_BD11, cell_B0 = state if state is not None else self.init_state(B, H, W)
        # What does not depend on the past runs once, over all frames.
        inputs_BTG = F.linear(x_BTCHW.mean((3, 4)), self.cell.weight_ih, self.cell.bias_ih)
        hidden_BD = past_BD11.flatten(1).to(inputs_BTG.dtype)
        hidden = []
        for t in range(T):
            hidden_BD = self._step(inputs_BTG[:, t], hidden_BD)
            hidden.append(hidden_BD)
        memory_BTC = self.expand(torch.stack(hidden, dim=1))
        y_BTCHW = x_BTCHW + memory_BTC[..., None, None].to(x_BTCHW.dtype)
        return y_BTCHW, MemoryState(hidden_BD[..., None, None].to(past_BD11.dtype), cell_B0)

    def _step(self, inputs_BG: Tensor, hidden_BD: Tensor) -> Tensor:
        """The unit, as `torch.nn.GRU` has it, with what the input gives to the gates."""
        recurrent_BG = F.linear(hidden_BD, self.cell.weight_hh, self.cell.bias_hh)
        reset_i, update_i, new_i = inputs_BG.chunk(3, dim=1)
        reset_h, update_h, new_h = recurrent_BG.chunk(3, dim=1)
        update_BD = torch.sigmoid(update_i + update_h)
        new_BD = torch.tanh(new_i + torch.sigmoid(reset_i + reset_h) * new_h)
        return torch.lerp(new_BD, hidden_BD, update_BD)
