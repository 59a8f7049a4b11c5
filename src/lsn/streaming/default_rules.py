"""When the answers of weights are an event, if nobody fitted that: by the validation beside the weights."""

from __future__ import annotations

from pathlib import Path

from lsn.config import EventRules
from lsn.config.json_files import EVALUATION_NAME
from lsn.streaming.events import fit_threshold

KEPT_ANSWERS = 0.95
"""Share of the right answers on the validation set that reach the threshold."""


def validation_threshold(weights: str | Path) -> float | None:
    """The probability that most right answers of the validation in a weights folder reach; None without a validation.

    Raises:
        DataError: the validation is damaged.
    """
    if not Path(weights, EVALUATION_NAME).is_file():
        return None
    from lsn.evaluation.result import load_evaluation  # needs PyTorch

    return fit_threshold(load_evaluation(weights).rows, kept=KEPT_ANSWERS)


def rules_at(threshold: float | None) -> EventRules:
    """The rules with this threshold, and two thirds of it to leave; the usual ones without."""
    return EventRules() if threshold is None else EventRules(on_threshold=threshold, off_threshold=2 / 3 * threshold)
