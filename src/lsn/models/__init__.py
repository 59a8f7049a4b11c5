"""Networks: a 2D CNN of timm with a memory from frame to frame."""

from lsn.models.factory import create_model, list_models
from lsn.models.memory.ats import AccumulatedTemporaryState
from lsn.models.memory.blocks import ConvLSTM, HOConvLSTM, MemoryState
from lsn.models.memory.conv_lstm import ConvLSTMCell
from lsn.models.memory.gru import PooledGRU
from lsn.models.recognizer import Recognizer
from lsn.models.shift import temporal_shift
from lsn.models.state import StreamState

__all__ = [
    "AccumulatedTemporaryState",
    "ConvLSTM",
    "ConvLSTMCell",
    "HOConvLSTM",
    "MemoryState",
    "PooledGRU",
    "Recognizer",
    "StreamState",
    "create_model",
    "list_models",
    "temporal_shift",
]
