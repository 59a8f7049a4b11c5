"""Figures of merit of a classifier, from its log-probabilities and the true labels.

Shapes: N videos, K classes. Ties are broken in favour of the class that comes first in label order, so that equal
scores give equal results on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """What one evaluation measured; shares lie in 0..1."""

    num_videos: int
    """Videos that could be read, over which everything below is taken."""
    top1: float
    """Share of the videos whose likeliest class is the true one."""
    top5: float
    """Share of the videos with the true class among the five likeliest (among all, if there are fewer)."""
    mean_class_accuracy: float
    """Mean over the classes of the share of their videos that are right; classes without videos are left out."""
    calibration_error: float
    """Expected calibration error: how far confidence and accuracy lie apart, over 15 bins of confidence."""
    loss: float
    """Mean cross-entropy, in nats."""
    classes_without_samples: tuple[str, ...]
    """Classes that no video belongs to, in label order."""


def compute_metrics(log_probabilities_NK: Tensor, labels_N: Tensor, *, class_names: Sequence[str]) -> Metrics:
    """All metrics of N >= 1 videos.

    Args:
        log_probabilities_NK: finite; the exponentials of each row sum to 1.
        labels_N: int64, 0 to K - 1.
        class_names: K names in label order.
    """
    ranked_NK = rank_classes(log_probabilities_NK)
    right_N = ranked_NK[:, 0] == labels_N
    confusion = confusion_matrix(ranked_NK[:, 0], labels_N, num_classes=len(class_names))
    samples_K = confusion.sum(dim=1)
    accuracy_K = confusion.diagonal().double() / samples_K
    label_log_probabilities_N = log_probabilities_NK.gather(1, labels_N[:, None])[:, 0]
    return Metrics(
        num_videos=len(labels_N),
        top1=right_N.double().mean().item(),
        top5=(ranked_NK[:, :5] == labels_N[:, None]).any(dim=1).double().mean().item(),
        mean_class_accuracy=accuracy_K[samples_K > 0].mean().item(),
        calibration_error=calibration_error(log_probabilities_NK.amax(dim=1).exp(), right_N),
        loss=-label_log_probabilities_N.double().mean().item(),
        classes_without_samples=tuple(name for name, n in zip(class_names, samples_K.tolist(), strict=True) if n == 0),
    )


def rank_classes(scores_NK: Tensor) -> Tensor:
    """Class indices from the likeliest to the least likely, NK; of equals, the first in label order."""
    return scores_NK.sort(dim=1, descending=True, stable=True).indices


def confusion_matrix(predicted_N: Tensor, labels_N: Tensor, *, num_classes: int) -> Tensor:
    """Counts of videos, int64 (K, K): row the true class, column the predicted one."""
    cells_N = labels_N * num_classes + predicted_N
    return torch.bincount(cells_N, minlength=num_classes**2).view(num_classes, num_classes)


def calibration_error(confidences_N: Tensor, right_N: Tensor) -> float:
    """Expected calibration error: |accuracy - mean confidence| of each bin, weighted by its share of the videos.

    Bins are 15 equal parts of 0..1, closed on the left; a confidence of exactly 1 has a bin of its own, as in
    torchmetrics.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, 2017, arXiv:1706.04599, equation 3.
    """
    edges = torch.linspace(0, 1, NUM_BINS + 1, dtype=confidences_N.dtype)
    bins_N = torch.bucketize(confidences_N.clamp(0, 1), edges, right=True) - 1
    gaps = torch.zeros(NUM_BINS + 1, dtype=torch.float64)
    gaps.scatter_add_(0, bins_N, right_N.double() - confidences_N.double())
    return gaps.abs().sum().item() / len(confidences_N)


def risk_coverage_area(confidences_N: Tensor, right_N: Tensor) -> float:
    """Area under the risk-coverage curve: mean error over all shares of the videos that may be answered, surest first.

    Videos of equal confidence come in any order: each counts with their mean.

    Source:
        Geifman et al., Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, 2019, arXiv:1805.08206.
    """
    _, level_N, sizes_L = confidences_N.neg().unique(return_inverse=True, return_counts=True)
    wrong_L = torch.zeros(len(sizes_L), dtype=torch.float64).scatter_add_(0, level_N, (~right_N).double())
    wrong_N = (wrong_L / sizes_L).repeat_interleave(sizes_L)
    return (wrong_N.cumsum(0) / torch.arange(1, len(wrong_N) + 1)).mean().item()
