"""What a cross-validation found: over all clips, by seed, by fold and by group."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from lsn.data import Clip
from lsn.errors import DataError
from lsn.evaluation.result import EvaluationResult, result_of_scores

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

    def calibrated(self, seed: int) -> EvaluationResult:
        """The clips of all folds together, each fold at the temperature that fits the other folds."""
        results = [result for (other, _), result in sorted(self.results.items()) if other == seed]
        scaled = []
        for fold, result in enumerate(results):
            others = join_results([other for number, other in enumerate(results) if number != fold])
            scaled.append(result.at_temperature(others.helpful_temperature()))
        return join_results(scaled)

    def together(self, *, calibrated: bool = False) -> EvaluationResult:
        """The clips of all folds and seeds as one, each clip once for each seed; as they are, or as `calibrated`."""
        return join_results([self.calibrated(seed) if calibrated else self.of_seed(seed) for seed in self.seeds])

    def groups(self) -> list[GroupAccuracy]:
        """The groups, the worst first; without groups each clip is one."""
        right: dict[str, list[bool]] = defaultdict(list)
        clips: dict[str, set[Clip]] = defaultdict(set)
        for result in self.results.values():
            for row in result.rows:
                name = (row.clip.group or UNKNOWN) if self.has_groups else row.path
                right[name].append(row.correct)
                clips[name].add(row.clip)
        found = [GroupAccuracy(name, len(clips[name]), statistics.mean(each)) for name, each in right.items()]
        return sorted(found, key=lambda group: (group.accuracy, group.name))

    @cached_property
    def has_groups(self) -> bool:
        """Whether any clip's group is known."""
        return any(row.clip.group for result in self.results.values() for row in result.rows)

    @property
    def num_clips(self) -> int:
        """Clips that were tested, each counted once."""
        return len({row.clip for result in self.results.values() for row in result.rows})

    @property
    def unreadable(self) -> dict[str, str]:
        """Errors of the clips that could not be read, by path."""
        return {path: error for result in self.results.values() for path, error in result.unreadable}

    def worst_group(self) -> GroupAccuracy | None:
        """The worst group of at least `MIN_GROUP_CLIPS` clips; None if there is none."""
        return next((group for group in self.groups() if group.num_clips >= MIN_GROUP_CLIPS), None)

    @property
    def top1(self) -> float:
        """Share of the clips that are right, mean over the seeds."""
        return statistics.mean(self.of_seed(seed).metrics.top1 for seed in self.seeds)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of `top1`, see `group_interval`."""
        return group_interval(self.groups())


def group_interval(groups: Sequence[GroupAccuracy]) -> tuple[float, float]:
    """The 95% interval of the accuracy over all clips, by bootstrap over the groups.

    Clips of one group are right and wrong together, so to draw clips would make the interval too narrow.

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    rng = np.random.default_rng(0)
    sizes_G = np.array([group.num_clips for group in groups])
    right_G = sizes_G * np.array([group.accuracy for group in groups])
    shares = []
    for _ in range(NUM_RESAMPLES):
        drawn_G = rng.integers(len(groups), size=len(groups))
        shares.append(right_G[drawn_G].sum() / sizes_G[drawn_G].sum())
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)


def join_results(results: Sequence[EvaluationResult]) -> EvaluationResult:
    """Evaluations of different clips by the same protocol as one, its figures over all clips.

    Raises:
        DataError: their labels differ, or they were written by a version that kept no scores.
    """
    first = results[0]
    scores = [result.scores_NK for result in results if result.scores_NK is not None]
    if len(scores) < len(results) or any(result.labels != first.labels for result in results):
        raise DataError(
            f"the evaluations of {first.source} and others have no scores, or other labels; evaluate them again"
        )
    return result_of_scores(
        [row.clip for result in results for row in result.rows],
        torch.cat(scores),
        source=", ".join(result.source for result in results),
        protocol=first.protocol,
        labels=first.labels,
        unreadable=tuple(entry for result in results for entry in result.unreadable),
    )
