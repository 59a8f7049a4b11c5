"""What a network finds in the validation videos, as the loop sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsn.models import Recognizer
from lsn.models.weights import LoadedModel, save_weights
from lsn.streaming.timeline_evaluation import TimelineEvaluation
from lsn.streaming.timeline_results import save_timelines


@dataclass(frozen=True)
class TimelineValidation:
    """How good a network is at finding events."""

    evaluation: TimelineEvaluation
    loaded: LoadedModel
    """The network with what belongs to it, but for the rules of events."""

    @property
    def score(self) -> float:
        """F1 of events with an overlap of 25%."""
        return self.evaluation.metrics.f1["25"]

    @property
    def tie_break(self) -> float:
        """Mean average precision over frames; 0 if no frame shows an event."""
        value = self.evaluation.metrics.frame_map
        return 0.0 if math.isnan(value) else value

    def describe(self) -> str:  # noqa: D102 - as in lsn.training.task.Validation, like all below
        metrics = self.evaluation.metrics
        return (
            f"F1@25 {100 * self.score:.1f}%, {metrics.found} of {metrics.num_events} events found, "
            f"{metrics.false_per_hour:.0f} false ones an hour"
        )

    def record(self) -> dict[str, Any]:  # noqa: D102
        return {**self.evaluation.metrics.to_dict(), "unreadable": len(self.evaluation.unreadable)}

    def save(self, folder: Path) -> None:  # noqa: D102
        save_timelines(self.evaluation, folder)

    def keep(self, folder: Path, model: Recognizer, *, epoch: int) -> None:  # noqa: D102
        save_weights(
            folder,
            model,
            labels=self.loaded.labels,
            input=self.loaded.input,
            metrics=self.evaluation.metrics.to_dict() | {"epoch": epoch},
            frame_rates=self.loaded.frame_rates,
            events=self.evaluation.rules,
        )
        save_timelines(self.evaluation, folder)
