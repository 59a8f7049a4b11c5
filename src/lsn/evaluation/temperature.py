"""Temperature scaling: one number that makes probabilities mean what they say.

Shapes: N videos, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lsn.models import Recognizer

RANGE = (0.05, 20.0)
"""Temperatures that are considered."""
MIN_VIDEOS = 30
"""Fewer are too few to fit a temperature on."""
_ITERATIONS = 80
_NUM_FOLDS = 5


def fit_temperature(scores_NK: Tensor, labels_N: Tensor) -> float:
    """The temperature T whose softmax(scores / T) has the smallest cross-entropy, were one answer in N + 1 a guess.

    Without that, a network that is right on all N videos would be made to seem certain. No ranking changes. The
    cross-entropy is convex in 1 / T, so its slope has one root, which is bisected.

    Args:
        scores_NK: Logits, or log-probabilities.
        labels_N: int64, 0 to K - 1.

    Returns:
        T within `RANGE`: above 1 for a network that is surer than it is right.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, 2017, arXiv:1706.04599, section 4.2; the guess after
        Platt, Probabilistic outputs for support vector machines, 1999, section 2.1.
    """
    scores_NK = scores_NK.double()
    guessed = 1 / (len(scores_NK) + 1)
    true_N = scores_NK.gather(1, labels_N[:, None])[:, 0]
    wanted_N = (1 - guessed) * true_N + guessed * scores_NK.mean(dim=1)
    low, high = (1 / temperature for temperature in reversed(RANGE))
    for _ in range(_ITERATIONS):
        middle = math.sqrt(low * high)
        expected_N = (scores_NK * (scores_NK * middle).softmax(dim=1)).sum(dim=1)
        if (expected_N - wanted_N).mean() > 0:  # the slope in 1 / T
            high = middle
        else:
            low = middle
    return 1 / math.sqrt(low * high)


def state_at_temperature(model: Recognizer, temperature: float) -> dict[str, Tensor]:
    """The state dict of a network whose logits are divided by a temperature: its classifier's weights are."""
    own = {id(parameter) for parameter in model.get_classifier().parameters()}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in own}
    return {name: tensor / temperature if name in names else tensor for name, tensor in model.state_dict().items()}


def helpful_temperature(scores_NK: Tensor, labels_N: Tensor, groups: Sequence[Hashable]) -> float:
    """The temperature to use with a network, fitted on its validation videos; 1 where one would not help.

    It helps if it lowers the cross-entropy on videos of groups that it was not fitted on.

    Args:
        scores_NK: Of the validation videos.
        labels_N: Their true classes.
        groups: Group of each video.
    """
    if len(scores_NK) < MIN_VIDEOS:
        return 1.0
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    fold_N = torch.tensor([numbers[group] % _NUM_FOLDS for group in groups])
    gain = 0.0
    for fold in fold_N.unique():
        held_out_N = fold_N == fold
        if held_out_N.all():
            return 1.0  # all are of one group
        temperature = fit_temperature(scores_NK[~held_out_N], labels_N[~held_out_N])
        scores, labels = scores_NK[held_out_N].double(), labels_N[held_out_N]
        gain += F.cross_entropy(scores, labels, reduction="sum").item()
        gain -= F.cross_entropy(scores / temperature, labels, reduction="sum").item()
    return fit_temperature(scores_NK, labels_N) if gain > 0 else 1.0
