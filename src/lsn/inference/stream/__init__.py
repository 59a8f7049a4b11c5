"""Streams: a model's answers while a video goes on, and what is made of them."""

from lsn.inference.stream.events import Event, EventDetector, EventRules, fit_threshold
from lsn.inference.stream.pool import PoolTick, StreamPool
from lsn.inference.stream.predictor import StreamingPredictor
from lsn.inference.stream.resets import ResetRules
from lsn.inference.stream.session import Stream, StreamAnswer

__all__ = [
    "Event",
    "EventDetector",
    "EventRules",
    "PoolTick",
    "ResetRules",
    "Stream",
    "StreamAnswer",
    "StreamPool",
    "StreamingPredictor",
    "fit_threshold",
]
