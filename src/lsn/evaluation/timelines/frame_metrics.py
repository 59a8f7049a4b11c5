"""Metrics of single frames: average precision, as online action detection reports it.

Shapes: T frames of all videos, one after the other, K classes.
"""

from __future__ import annotations

import numpy as np


def average_precision(is_true_T: np.ndarray, scores_T: np.ndarray, *, calibrated: bool = False) -> float:
    """Area under the precision-recall curve of one class over all frames, without interpolation, 0..1.

    Args:
        is_true_T: bool; frames of the class.
        scores_T: how sure the model is of each; frames with the same score are retrieved together.
        calibrated: precision as it would be if half of the frames were of the class, so that frequent and rare classes
            can be compared.

    Returns:
        The average precision; NaN without a frame of the class.

    Source:
        De Geest et al., Online action detection, ECCV 2016, for the calibrated precision.
    """
    num_true = int(is_true_T.sum())
    if not num_true:
        return float("nan")
    order = np.argsort(-scores_T, kind="stable")
    scores, true = scores_T[order], is_true_T[order]
    last_of_score = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(true)[last_of_score].astype(np.float64)
    false = 1 + last_of_score - hits
    weight = (len(scores) - num_true) / num_true if calibrated else 1.0
    # Without a frame of another class the weight is 0, and so are the false ones.
    precision = np.ones_like(hits) if not weight else weight * hits / (weight * hits + false)
    return float(np.sum(np.diff(hits, prepend=0.0) * precision) / num_true)


def mean_average_precision(is_true_TK: np.ndarray, scores_TK: np.ndarray, *, calibrated: bool = False) -> float:
    """The mean of `average_precision` over the classes that occur, 0..1; NaN if none does.

    Args:
        is_true_TK: bool; the classes of each frame, of which there may be several or none.
        scores_TK: how sure the model is of each class.
        calibrated: as of `average_precision`.
    """
    classes = np.flatnonzero(is_true_TK.any(axis=0))
    found = [average_precision(is_true_TK[:, k], scores_TK[:, k], calibrated=calibrated) for k in classes]
    return float(np.mean(found)) if found else float("nan")
