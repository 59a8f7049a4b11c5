"""A small network whose parts all say something."""

import pytest
import torch

import lsn
from lsn.models import PooledGRU, Recognizer
from lsn.models.factory import TESTED_CNNS

LARGE_CNNS = ("resnet34", "resnet50", "resnet101", "convnext_tiny")
EVERY_CNN = [pytest.param(cnn, marks=pytest.mark.slow if cnn in LARGE_CNNS else ()) for cnn in TESTED_CNNS]


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
