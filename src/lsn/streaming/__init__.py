"""Streams: from sources, sampled at the model's rate, through one engine to answers and events, in saved sessions.

Nothing here but the engine, snapshots and what loads models needs PyTorch, and those are imported when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lsn.config import EventRules
from lsn.streaming.events import Event, EventDetector, EventReport, fit_threshold
from lsn.streaming.prediction import StreamEnd, StreamPrediction
from lsn.streaming.resets import ResetRules
from lsn.streaming.runner import StreamRunner
from lsn.streaming.session import StreamSession
from lsn.streaming.tracker import StreamTracker
from lsn.video.live.options import SourceOptions

if TYPE_CHECKING:
    from lsn.streaming.engine import EngineStep, StreamEngine
    from lsn.streaming.predictor import StreamingPredictor

__all__ = [
    "EngineStep",
    "Event",
    "EventDetector",
    "EventReport",
    "EventRules",
    "ResetRules",
    "SourceOptions",
    "StreamEnd",
    "StreamEngine",
    "StreamPrediction",
    "StreamRunner",
    "StreamSession",
    "StreamTracker",
    "StreamingPredictor",
    "fit_threshold",
]

_WITH_TORCH = {
    "EngineStep": "lsn.streaming.engine",
    "StreamEngine": "lsn.streaming.engine",
    "StreamingPredictor": "lsn.streaming.predictor",
}


def __getattr__(name: str) -> Any:
    """Imports what needs PyTorch when it is first used."""
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'lsn.streaming' has no attribute {name!r}")
    return getattr(importlib.import_module(_WITH_TORCH[name]), name)
