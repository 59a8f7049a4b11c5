"""Streams: from sources, sampled at the model's rate, through one engine to answers and events, in saved sessions.

Nothing here but what loads models and compares them needs PyTorch, and that is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lsn.config import EventRules
from lsn.streaming.engine import EngineStep, StreamEngine
from lsn.streaming.events import Event, EventDetector, EventReport, fit_threshold
from lsn.streaming.prediction import StreamEnd, StreamPrediction
from lsn.streaming.resets import ResetRules
from lsn.streaming.runner import StreamRunner
from lsn.streaming.session import StreamSession
from lsn.streaming.tracker import StreamTracker
from lsn.video.live.options import SourceOptions

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """Imports what needs PyTorch when it is first used."""
    if name != "StreamingPredictor":
        raise AttributeError(f"module 'lsn.streaming' has no attribute {name!r}")
    return importlib.import_module("lsn.streaming.predictor").StreamingPredictor
