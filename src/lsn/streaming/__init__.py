"""Streams: a model's answers while a video goes on, and what is made of them."""

from lsn.streaming.engine import EngineStep, StreamEngine
from lsn.streaming.events import Event, EventDetector, EventRules, fit_threshold
from lsn.streaming.predictor import StreamingPredictor
from lsn.streaming.resets import ResetRules
from lsn.streaming.session import Stream, StreamPrediction

__all__ = [
    "EngineStep",
    "Event",
    "EventDetector",
    "EventRules",
    "ResetRules",
    "Stream",
    "StreamEngine",
    "StreamPrediction",
    "StreamingPredictor",
    "fit_threshold",
]
