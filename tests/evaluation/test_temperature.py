"""Temperature scaling beside a general optimiser, and off where it does not help."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from lsn.evaluation.temperature import RANGE, fit_temperature, helpful_temperature


def logits_of(sureness, num_videos=400, seed=0):
    """Logits of a network that is right with the probabilities softmax(logits / sureness)."""
    rng = np.random.default_rng(seed)
    true_logits = 2 * rng.standard_normal((num_videos, 5))
    shares = np.exp(true_logits) / np.exp(true_logits).sum(1, keepdims=True)
    labels = torch.tensor([rng.choice(5, p=p) for p in shares])
    return torch.tensor(sureness * true_logits), labels


@pytest.mark.parametrize("sureness", [0.4, 1.0, 3.0])
def test_it_is_the_minimum(sureness):
    logits, labels = logits_of(sureness)
    found = minimize_scalar(
        lambda log_t: F.cross_entropy(logits / np.exp(log_t), labels, label_smoothing=1 / 401).item(),
        bounds=np.log(RANGE),
        method="bounded",
    )
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(found.x), rel=1e-3)
    assert fit_temperature(logits, labels) == pytest.approx(sureness, rel=0.15)
    assert fit_temperature(logits.log_softmax(1), labels) == pytest.approx(fit_temperature(logits, labels))


def test_what_is_always_right_does_not_become_certain():
    labels = torch.arange(40) % 5
    scores = 5.0 * F.one_hot(labels, 5).double()
    probability = (scores / fit_temperature(scores, labels)).softmax(1).amax().item()
    assert probability == pytest.approx(1 - 4 / 5 / 41)


def test_it_is_off_where_it_does_not_help():
    logits, labels = logits_of(3.0)
    groups = [number // 10 for number in range(400)]
    assert helpful_temperature(logits, labels, groups) == pytest.approx(3.0, rel=0.15)
    assert helpful_temperature(logits[:20], labels[:20], groups[:20]) == 1.0  # too few
    assert helpful_temperature(logits, labels, ["one"] * 400) == 1.0  # of one group
    right, some_labels = logits_of(1.0, num_videos=60, seed=1)
    assert helpful_temperature(right, some_labels, range(60)) == pytest.approx(1.0, abs=0.35)
