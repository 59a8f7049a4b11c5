"""When the answers of weights are an event, if nobody says it: as fitted, or by the validation beside the weights."""

from __future__ import annotations

from pathlib import Path

from lsn.config import EventRules
from lsn.config.json_files import EVALUATION_NAME
from lsn.streaming.events import fit_threshold

KEPT_ANSWERS = 0.95
"""Share of the right answers on the validation set that the fitted threshold keeps."""


def default_event_rules(weights: str | Path, fitted: EventRules | None) -> tuple[EventRules, str]:
    """The rules, and for people where their threshold comes from.

    Args:
        weights: a weights folder, with or without an evaluation.
        fitted: what is kept with the weights.

    Raises:
        DataError: the evaluation is damaged.
    """
    if fitted is not None:
        return fitted, " (fitted for these weights)"
    if not Path(weights, EVALUATION_NAME).is_file():
        return EventRules(), ""
    from lsn.evaluation.result import load_evaluation  # needs PyTorch

    rows = load_evaluation(weights).rows
    start = fit_threshold(rows, kept=KEPT_ANSWERS)
    if start is None:
        return EventRules(), ""
    source = (
        f" ({100 * KEPT_ANSWERS:.0f}% of the {sum(row.correct for row in rows)} right answers of its validation do)"
    )
    return EventRules(on_threshold=start, off_threshold=2 / 3 * start), source
