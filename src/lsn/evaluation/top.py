"""The likeliest labels, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsn.errors import ConfigError


def top_labels(labels: Sequence[str], probabilities_K: np.ndarray, k: int) -> list[tuple[str, float]]:
    """The k likeliest labels (all, if there are fewer) with their probabilities; of equals, the first in label order.

    Raises:
        ConfigError: k is under 1.
    """
    if k < 1:
        raise ConfigError(f"the top {k} labels; ask for at least 1")
    ranked = np.argsort(-probabilities_K, kind="stable")[:k]
    return [(labels[index], float(probabilities_K[index])) for index in ranked.tolist()]
