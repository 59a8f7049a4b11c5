"""Evaluations written by hand."""

from collections.abc import Sequence

import torch

from lsn.data import Clip
from lsn.inference import EvaluationProtocol, EvaluationResult, Metrics, PredictionRow


def prediction(
    label: str, predicted: str, confidence: float, probability: float | None = None, *, path: str = "v.mp4"
) -> PredictionRow:
    """A row; the probability of the label is the confidence if the prediction is right, and otherwise 0.05."""
    if probability is None:
        probability = confidence if label == predicted else 0.05
    return PredictionRow(Clip(path, label), predicted, confidence, probability, (predicted,))


def evaluation(
    labels: Sequence[str], rows: Sequence[PredictionRow], unreadable: Sequence[tuple[str, str]] = ()
) -> EvaluationResult:
    """What an evaluation with these rows would have found, with a calibration error of 0.125."""
    confusion = torch.zeros(len(labels), len(labels), dtype=torch.int64)
    for row in rows:
        confusion[labels.index(row.label), labels.index(row.predicted)] += 1
    right = sum(row.correct for row in rows) / max(1, len(rows))
    empty = tuple(label for label, total in zip(labels, confusion.sum(1), strict=True) if not total)
    return EvaluationResult(
        source="test.csv",
        protocol=EvaluationProtocol(
            num_frames=4,
            size=32,
            short_side=32,
            sampling="segments",
            frame_stride=1,
            num_clips=1,
            num_crops=1,
            average="logits",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            batch_size=8,
        ),
        labels=tuple(labels),
        metrics=Metrics(len(rows), right, 1.0, right, 0.125, 0.7, empty),
        confusion=confusion,
        rows=tuple(rows),
        unreadable=tuple(unreadable),
    )
