"""LSN: action recognition in video with 2D CNNs that carry a memory from frame to frame."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsn import models as models
    from lsn.inference.predictor import Prediction, Predictor
    from lsn.inference.stream import StreamAnswer, StreamingPredictor
    from lsn.inference.stream.watch import Watch
    from lsn.models.factory import create_model, list_models

__version__ = "0.1.0"
__all__ = ["Prediction", "Predictor", "StreamAnswer", "StreamingPredictor", "Watch", "create_model", "list_models"]

_HOMES = {
    "Prediction": "lsn.inference.predictor",
    "Predictor": "lsn.inference.predictor",
    "StreamAnswer": "lsn.inference.stream",
    "StreamingPredictor": "lsn.inference.stream",
    "Watch": "lsn.inference.stream.watch",
    "create_model": "lsn.models.factory",
    "list_models": "lsn.models.factory",
}


def __getattr__(name: str) -> Any:
    """Imports `lsn.models` and the public names when they are first used: `import lsn` does not import torch."""
    if name == "models":
        return importlib.import_module("lsn.models")
    if name not in _HOMES:
        raise AttributeError(f"module 'lsn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
