"""Which device computes, and networks put to work on it without a trace left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lsn.errors import ConfigError, shown


def resolve_device(name: str | torch.device) -> torch.device:
    """The device that a name stands for; "auto" is a GPU if there is one.

    Raises:
        ConfigError: there is no such device, or it cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # the meta device has tensors, but no numbers in them
        if device.type == "cpu" and device.index:
            raise ValueError("all processors together are one device, cpu")
    except Exception as error:  # a backend that is not there fails in every way
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        message = f"device {shown(str(name))} cannot be used ({reason}); use cpu, cuda, cuda:1, mps or auto"
        raise ConfigError(message) from None
    return device


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
