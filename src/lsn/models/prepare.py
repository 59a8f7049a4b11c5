"""The one way in which a model is made ready to run."""

from __future__ import annotations

import torch

from lsn.hardware import resolve_device
from lsn.models import Recognizer
from lsn.models.compile import compile_model
from lsn.models.fuse import fuse


def prepare_for_inference(
    model: Recognizer, *, device: str | torch.device = "auto", compile: bool = False
) -> Recognizer:
    """A copy for inference: norms folded into convolutions, in the memory layout that is fastest, on the device.

    Args:
        model: is not changed.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one.
        compile: run it through PyTorch's compiler, when it is first called; see `lsn.models.compile`.

    Returns:
        A model in eval mode without gradients that gives the same scores, to rounding. Its state dict has other names:
        weights are saved from `model`.

    Raises:
        ConfigError: there is no such device.
    """
    prepared = fuse(model)
    prepared.to(resolve_device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        compile_model(prepared, frozen=True)
    return prepared
