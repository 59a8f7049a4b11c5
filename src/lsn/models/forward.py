"""Networks run for their scores, without a trace left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
