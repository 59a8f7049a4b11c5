"""What a cross-validation found: over all clips, by seed, by fold and by group."""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lsn.errors import DataError
from lsn.evaluation.metrics import Metrics, calibration_error
from lsn.evaluation.result import EvaluationResult, PredictionRow

NUM_RESAMPLES = 10_000
UNKNOWN = "(unknown)"
"""The group of clips whose group is not known."""
MIN_GROUP_CLIPS = 5
"""Clips that the worst group has at least: one clip alone is right or wrong."""


@dataclass(frozen=True)
class GroupAccuracy:
    """How a group of clips was recognised, by models that had never seen it."""

    name: str
    num_clips: int
    accuracy: float
    """Share of its clips that are right, mean over the seeds."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Every clip tested once for each seed."""

    results: Mapping[tuple[int, int], EvaluationResult]
    """By seed and fold."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(sorted({seed for seed, _ in self.results}))

    @property
    def num_folds(self) -> int:
        """Folds that each seed has."""
        return len({fold for _, fold in self.results})

    def of_seed(self, seed: int) -> EvaluationResult:
        """The clips of all folds together."""
        return join_results([result for (other, _), result in sorted(self.results.items()) if other == seed])

    def groups(self) -> list[GroupAccuracy]:
        """The groups, the worst first; without groups each clip is one."""
        right: dict[str, list[bool]] = defaultdict(list)
        for result in self.results.values():
            has_groups = any(row.clip.group for row in result.rows)
            for row in result.rows:
                right[(row.clip.group or UNKNOWN) if has_groups else row.path].append(row.correct)
        num_seeds = len(self.seeds)
        found = [GroupAccuracy(name, len(each) // num_seeds, statistics.mean(each)) for name, each in right.items()]
        return sorted(found, key=lambda group: (group.accuracy, group.name))

    def worst_group(self) -> GroupAccuracy | None:
        """The worst group of at least `MIN_GROUP_CLIPS` clips; None if there is none."""
        return next((group for group in self.groups() if group.num_clips >= MIN_GROUP_CLIPS), None)

    @property
    def top1(self) -> float:
        """Share of the clips that are right, mean over the seeds."""
        return statistics.mean(self.of_seed(seed).metrics.top1 for seed in self.seeds)

    def interval(self) -> tuple[float, float]:
        """The 95% interval of `top1`, see `group_interval`."""
        return group_interval(self.groups())


def group_interval(groups: Sequence[GroupAccuracy]) -> tuple[float, float]:
    """The 95% interval of the accuracy over all clips, by bootstrap over the groups.

    Clips of one group are right and wrong together, so to draw clips would make the interval too narrow.

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    rng = random.Random(0)
    shares = []
    for _ in range(NUM_RESAMPLES):
        drawn = rng.choices(groups, k=len(groups))
        shares.append(sum(g.accuracy * g.num_clips for g in drawn) / sum(g.num_clips for g in drawn))
    shares.sort()
    return shares[round(0.025 * NUM_RESAMPLES)], shares[round(0.975 * NUM_RESAMPLES) - 1]


def join_results(results: Sequence[EvaluationResult]) -> EvaluationResult:
    """Evaluations of different clips by the same protocol as one, its figures over all clips.

    Raises:
        DataError: their labels differ.
    """
    first = results[0]
    if any(result.labels != first.labels for result in results):
        raise DataError(f"the evaluations of {first.source} and others have different labels; evaluate them again")
    rows = tuple(row for result in results for row in result.rows)
    confusion = torch.stack([result.confusion for result in results]).sum(0)
    return EvaluationResult(
        source=", ".join(result.source for result in results),
        protocol=first.protocol,
        labels=first.labels,
        metrics=_metrics(rows, confusion, first.labels),
        confusion=confusion,
        rows=rows,
        unreadable=tuple(entry for result in results for entry in result.unreadable),
    )


def _metrics(rows: Sequence[PredictionRow], confusion: torch.Tensor, labels: Sequence[str]) -> Metrics:
    """As `lsn.evaluation.metrics.compute_metrics`, from what the rows keep."""
    samples_K = confusion.sum(dim=1)
    accuracy_K = confusion.diagonal().double() / samples_K
    confidences_N = torch.tensor([row.confidence for row in rows])
    right_N = torch.tensor([row.correct for row in rows])
    return Metrics(
        num_videos=len(rows),
        top1=right_N.double().mean().item(),
        top5=statistics.mean(row.label in row.top5 for row in rows),
        mean_class_accuracy=accuracy_K[samples_K > 0].mean().item(),
        calibration_error=calibration_error(confidences_N, right_N),
        loss=statistics.mean(-math.log(max(row.label_probability, math.ulp(0.0))) for row in rows),
        classes_without_samples=tuple(name for name, n in zip(labels, samples_K.tolist(), strict=True) if n == 0),
    )
