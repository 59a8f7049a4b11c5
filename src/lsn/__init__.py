"""LSN: action recognition in video with 2D CNNs that carry a memory from frame to frame."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsn import models as models
    from lsn.inference.predictor import Prediction, Predictor
    from lsn.models.factory import create_model, list_models
    from lsn.models.weights import load_weights as load
    from lsn.publishing.push import push_to_hub
    from lsn.streaming import StreamingPredictor, StreamPrediction
    from lsn.streaming.runner import StreamRunner

__version__ = "0.1.0"
__all__ = [
    "Prediction",
    "Predictor",
    "StreamPrediction",
    "StreamRunner",
    "StreamingPredictor",
    "create_model",
    "list_models",
    "load",
    "push_to_hub",
]

_HOMES = {
    "Prediction": "lsn.inference.predictor.Prediction",
    "Predictor": "lsn.inference.predictor.Predictor",
    "StreamPrediction": "lsn.streaming.StreamPrediction",
    "StreamingPredictor": "lsn.streaming.StreamingPredictor",
    "StreamRunner": "lsn.streaming.runner.StreamRunner",
    "create_model": "lsn.models.factory.create_model",
    "list_models": "lsn.models.factory.list_models",
    "load": "lsn.models.weights.load_weights",
    "push_to_hub": "lsn.publishing.push.push_to_hub",
}


def __getattr__(name: str) -> Any:
    """Imports `lsn.models` and the public names when they are first used: `import lsn` does not import torch."""
    if name == "models":
        return importlib.import_module("lsn.models")
    if name not in _HOMES:
        raise AttributeError(f"module 'lsn' has no attribute {name!r}")
    module, _, own_name = _HOMES[name].rpartition(".")
    return getattr(importlib.import_module(module), own_name)
