"""Labels that a model doubts: clips that are likely to be labelled wrongly, found by confident learning.

A model that has not been trained on a clip is sure of another class than that of its label. How sure it must be to
count is learned for each class: as sure as it is on average of the clips with that label. So a class that the model
always names with little confidence is not drowned by one that it names with much.

References:
    C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70,
    2021: the confident joint (its thresholds are the mean self-confidence of each class), ranked by normalised margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lsn.data import Clip
from lsn.errors import DataError
from lsn.evaluation.result import EvaluationResult


@dataclass(frozen=True)
class LabelDoubt:
    """A clip whose label is doubted."""

    clip: Clip
    probability: float
    """Of its label, mean over the evaluations that have the clip."""
    suggested: str
    """The label that the model is sure of instead."""
    suggested_probability: float
    """Of that."""


def doubted_labels(results: Sequence[EvaluationResult], clips: Sequence[Clip]) -> list[LabelDoubt]:
    """The clips whose labels are doubted, the surest doubts first.

    Args:
        results: of models that were not trained on the clips, with the same labels; a clip may be in several, whose
            probabilities are averaged.
        clips: with the labels that may be doubted; those that no result has are passed over.

    Raises:
        DataError: labels differ, or an older version wrote an evaluation, without its scores.
    """
    labels = results[0].labels
    found: dict[tuple[object, ...], list[Tensor]] = {}
    for result in results:
        if result.scores_NK is None or result.labels != labels:
            raise DataError(f"{result.source}: an evaluation without scores or with other labels; evaluate again")
        for row, probabilities_K in zip(result.rows, result.scores_NK.softmax(dim=1), strict=True):
            found.setdefault((row.clip.file, row.clip.window), []).append(probabilities_K)
    clips = [clip for clip in clips if (clip.file, clip.window) in found]
    if unknown := {clip.label for clip in clips} - set(labels):
        raise DataError(f"{results[0].source}: was evaluated without the label {min(unknown)!r}; evaluate again")
    if not clips:
        return []
    probabilities_NK = torch.stack([torch.stack(found[clip.file, clip.window]).mean(dim=0) for clip in clips]).double()
    given_N = torch.tensor([labels.index(clip.label) for clip in clips])
    sure_N = confident_classes(probabilities_NK, given_N)
    doubts = [
        LabelDoubt(clips[n], float(probabilities_NK[n, given_N[n]]), labels[sure], float(probabilities_NK[n, sure]))
        for n, sure in enumerate(sure_N.tolist())
        if sure != -1 and probabilities_NK[n, sure] > probabilities_NK[n, given_N[n]]
    ]
    return sorted(doubts, key=lambda doubt: doubt.probability - doubt.suggested_probability)


def confident_classes(probabilities_NK: Tensor, given_N: Tensor) -> Tensor:
    """The class that each clip is confidently counted to, int64 (N,); -1 where the model is not sure of any.

    Args:
        probabilities_NK: of K classes for N clips.
        given_N: the class of each clip's label, int64; a class that no clip has is nobody's.
    """
    num_classes = probabilities_NK.shape[1]
    counts_K = torch.bincount(given_N, minlength=num_classes)
    sums_K = torch.zeros(num_classes, dtype=probabilities_NK.dtype)
    sums_K.scatter_add_(0, given_N, probabilities_NK.gather(1, given_N[:, None])[:, 0])
    threshold_K = torch.where(counts_K > 0, sums_K / counts_K.clamp(min=1), torch.inf)
    is_sure_NK = probabilities_NK >= threshold_K
    candidates_NK = probabilities_NK.where(is_sure_NK, torch.tensor(-1.0, dtype=probabilities_NK.dtype))
    return candidates_NK.argmax(dim=1).where(is_sure_NK.any(dim=1), torch.tensor(-1))
