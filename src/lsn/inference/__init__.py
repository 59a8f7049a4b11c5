"""Evaluation of a model on a manifest, and prediction on single videos."""

from lsn.inference.annotate import write_annotated_video
from lsn.inference.anytime import Anytime
from lsn.inference.device import resolve_device
from lsn.inference.evaluate import evaluate
from lsn.inference.metrics import Metrics, compute_metrics
from lsn.inference.predictor import Prediction, Predictor
from lsn.inference.protocol import EvaluationProtocol
from lsn.inference.result import EvaluationResult, PredictionRow, load_evaluation

__all__ = [
    "Anytime",
    "EvaluationProtocol",
    "EvaluationResult",
    "Metrics",
    "Prediction",
    "PredictionRow",
    "Predictor",
    "compute_metrics",
    "evaluate",
    "load_evaluation",
    "resolve_device",
    "write_annotated_video",
]
