"""Networks run for their scores, without a trace left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts a network in eval mode, without gradients; afterwards every module is in the mode it was in.

    `model.train()` afterwards would not do: it would also wake norms that training keeps frozen.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def forward_views(
    forward: Callable[[Tensor], Tensor], views_NTCHW: Tensor, *, device: torch.device, batch_size: int
) -> Tensor:
    """Runs a network over views, at most `batch_size` in a pass, and returns its scores as float32 on the CPU."""
    parts = (part.to(device, non_blocking=True) for part in views_NTCHW.split(batch_size))
    return torch.cat([forward(part).float().cpu() for part in parts])
