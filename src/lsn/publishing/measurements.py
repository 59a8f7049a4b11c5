"""The evaluations in the folder of a run, as a model card shows them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lsn.config import EventRules
from lsn.config.json_files import EVALUATION_NAME
from lsn.evaluation.result import EvaluationResult, load_evaluation
from lsn.evaluation.timelines.event_metrics import matches
from lsn.evaluation.timelines.metrics import COUNTED_OVERLAP
from lsn.report.event_results import event_tiles
from lsn.report.html import count
from lsn.report.overview import clip_tiles
from lsn.report.results import confused_pairs, weakest_first
from lsn.streaming.timeline_evaluation import TimelineEvaluation
from lsn.streaming.timeline_results import METRICS_NAME, load_timelines
from lsn.training.loop import TEST_NAME

NUM_WEAK = 5
"""Classes and confusions that are named."""


@dataclass(frozen=True)
class Score:
    """A figure for machines, as in a model index."""

    type: str
    name: str
    value: float
    """A share in 0..1, or a number."""


@dataclass(frozen=True)
class Measurement:
    """One evaluation."""

    split: Literal["validation", "test"]
    data: str
    """Name of the file or folder that lists the videos."""
    amount: str
    """How much was seen, and how."""
    tiles: list[tuple[str, str, str]]
    """Name, value and remark of each figure, for people."""
    scores: list[Score]
    """The most important first."""
    weak: list[str]
    """What goes wrong most often, a line each."""
    mark: tuple[str, float]
    """A figure and its name in `config.json`, by which weights know their own validation."""
    rules: EventRules | None = None
    """Those that the events are by."""


def read_measurements(folder: Path) -> list[Measurement]:
    """The evaluations of a run: that on the test set if there is one, then that on the validation set.

    Raises:
        DataError: one is damaged.
    """
    found: list[Measurement] = []
    splits: dict[Literal["test", "validation"], Path] = {"test": folder / TEST_NAME, "validation": folder}
    for split, path in splits.items():
        if (path / METRICS_NAME).is_file():
            found.append(_of_timelines(split, load_timelines(path)))
        elif (path / EVALUATION_NAME).is_file():
            found.append(_of_clips(split, load_evaluation(path)))
    return found


def _of_clips(split: Literal["validation", "test"], result: EvaluationResult) -> Measurement:
    metrics, confusion = result.metrics, result.confusion.tolist()
    groups = {row.clip.group for row in result.rows if row.clip.group}
    of_groups = f" of {count(len(groups), 'group')}" if groups else ""
    weak = [
        f"{label}: {right} of {total} right"
        for accuracy, label, right, total in weakest_first(confusion, result.labels)[:NUM_WEAK]
        if accuracy < 1
    ]
    confused = [
        f"{true} taken for {predicted}: {number} of {total}"
        for number, total, true, predicted in confused_pairs(confusion, result.labels)[:NUM_WEAK]
    ]
    return Measurement(
        split,
        Path(result.source).name,
        f"{count(metrics.num_videos, 'video')}{of_groups}; {result.protocol.describe()}",
        clip_tiles(result),
        [
            Score("accuracy", "top-1 accuracy", metrics.top1),
            Score("accuracy", "top-5 accuracy", metrics.top5),
            Score("accuracy", "mean class accuracy", metrics.mean_class_accuracy),
            Score("ece", "expected calibration error", metrics.calibration_error),
        ],
        weak + confused,
        ("top1", metrics.top1),
    )


def _of_timelines(split: Literal["validation", "test"], result: TimelineEvaluation) -> Measurement:
    metrics = result.metrics
    true, found = Counter[str](), Counter[str]()
    for answers in result.answers:
        events = answers.events.true
        true.update(event.label for event in events)
        found.update(events[number].label for number in matches(answers.events, tiou=COUNTED_OVERLAP).values())
    weakest = sorted((found[label] / number, label) for label, number in true.items())[:NUM_WEAK]
    weak = [f"{label}: {found[label]} of {true[label]} found" for share, label in weakest if share < 1]
    scores = [
        Score("f1", "F1 of events at 25% overlap", metrics.f1["25"]),
        Score("f1", "F1 of events at 50% overlap", metrics.f1["50"]),
        Score("mean_average_precision", "mAP of events, overlap 30 to 70%", metrics.detection_map["mean"]),
        Score("mean_average_precision", "mAP of frames", metrics.frame_map),
        Score("false_per_hour", "false alarms an hour", metrics.false_per_hour),
    ]
    return Measurement(
        split,
        Path(result.truth.source).name,
        f"{count(metrics.num_videos, 'video')} of {60 * metrics.hours:.1f} minutes in all with "
        f"{count(metrics.num_events, 'event')}, each run as one stream",
        event_tiles(result),
        [score for score in scores if math.isfinite(score.value)],
        weak,
        ("frame_map", metrics.frame_map),
        result.rules,
    )
