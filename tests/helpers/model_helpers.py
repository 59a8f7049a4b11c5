"""A small network whose parts all say something."""

import torch

import lsn
from lsn.models import PooledGRU, Recognizer


def awake(name: str, **options: object) -> Recognizer:
    """A small model in eval mode whose memory and residual branches no longer start at zero."""
    torch.manual_seed(0)
    model = lsn.create_model(name, num_classes=4, num_frames=5, **options).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, PooledGRU):
            torch.nn.init.normal_(module.expand.weight)
    return model
