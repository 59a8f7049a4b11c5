"""How good a model is on long videos: each is run once, as one stream, and counted once.

Shapes: T ticks, K classes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lsn.config import EventRules
from lsn.data.clips.text import suggestion
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.data.timelines.targets import TargetRules, frame_targets
from lsn.distributed import current_world
from lsn.errors import DataError, LSNError, VideoError
from lsn.evaluation.timelines.metrics import TimelineMetrics, VideoAnswers, measure_timelines
from lsn.streaming.event_fitting import fit_event_rules
from lsn.streaming.found_events import known_events
from lsn.streaming.predictor import StreamingPredictor
from lsn.streaming.timeline import Timeline, make_timeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TimelineEvaluation:
    """What a model found in long videos, and how good that is."""

    truth: TimelineManifest
    """The videos that could be read, and what happens in them."""
    found: TimelineManifest
    """The same with the found events and their confidence."""
    metrics: TimelineMetrics
    timelines: tuple[Timeline, ...]
    """What the model has said of each video."""
    answers: tuple[VideoAnswers, ...]
    """The same as it is measured."""
    rules: EventRules
    """When its answers are an event."""
    background: str = "background"
    """Its name in the manifest."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """Path and error of each video that could not be read."""


def evaluate_timelines(
    predictor: StreamingPredictor,
    manifest: TimelineManifest,
    *,
    background: str = "background",
    fit: bool = False,
    max_false_per_hour: float | None = None,
    on_unreadable: Literal["raise", "skip"] = "raise",
    progress: Callable[[int, int], None] | None = None,
) -> TimelineEvaluation:
    """Runs a model over every video of a manifest as one stream, and measures what it finds.

    Under torchrun all processes call it; each runs a share of the videos and gets the whole result.

    Args:
        predictor: with a free slot; its rules say what an event is, and which class is the background.
        manifest: videos and what happens in them; the labels of its events must be among those of the model.
        background: its name in the manifest, where the model has no class for it, as where events may overlap.
        fit: measure with the rules that do best on these videos, instead of those of the predictor.
        max_false_per_hour: of `fit_event_rules`.
        on_unreadable: stop at a video that cannot be read, or leave it out.
        progress: called with the videos done and their number, again and again while a video is run.

    Raises:
        DataError: there is no video, or none that can be read, or an event has a label that the model does not know.
        VideoError: a video cannot be read, and such videos are not skipped.
    """
    if not len(manifest):
        raise DataError(f"{manifest.source}: no videos to evaluate on; give at least one")
    background = predictor.events.background or background
    labels = tuple(label for label in predictor.labels if label != background)
    for label in manifest.labels:
        if label not in (*labels, background):
            raise DataError(f"{manifest.source}: unknown label {label!r}; {suggestion(label, labels)}")
    found = _run_all(predictor, manifest.videos, on_unreadable, progress)
    read = [(video, each) for video, each in zip(manifest.videos, found, strict=True) if isinstance(each, Timeline)]
    unreadable = [
        (video.path, str(each))
        for video, each in zip(manifest.videos, found, strict=True)
        if isinstance(each, VideoError)
    ]
    if not read:
        raise DataError(f"{manifest.source}: none of its videos can be read: {unreadable[0][1]}")
    truth = replace(manifest, labels=labels, videos=tuple(video for video, _ in read))
    timelines = [timeline for _, timeline in read]
    rules = predictor.events
    if fit:
        rules = fit_event_rules(timelines, truth, rules, background=background, max_false_per_hour=max_false_per_hour)
    timelines = [timeline.with_rules(rules) for timeline in timelines]  # as one stream, whatever resets there were
    return measured(timelines, truth, rules, background=background, unreadable=tuple(unreadable))


def measured(
    timelines: Sequence[Timeline],
    truth: TimelineManifest,
    rules: EventRules,
    *,
    background: str = "background",
    unreadable: tuple[tuple[str, str], ...] = (),
) -> TimelineEvaluation:
    """How good the events of timelines are.

    Args:
        timelines: one for each video of the manifest.
        truth: the videos and what happens in them; its labels are those of the model without the background.
        rules: that the events of the timelines are by.
        background: its name in the manifest, where spans of it are listed.
        unreadable: of the result.
    """
    answers = [
        _answers(video, timeline, truth, rules, background)
        for video, timeline in zip(truth.videos, timelines, strict=True)
    ]
    videos = [replace(video, events=each.events.found) for video, each in zip(truth.videos, answers, strict=True)]
    found = replace(truth, videos=tuple(videos))
    metrics = measure_timelines(answers)
    return TimelineEvaluation(
        truth, found, metrics, tuple(timelines), tuple(answers), rules, background=background, unreadable=unreadable
    )


def _run_all(
    predictor: StreamingPredictor,
    videos: Sequence[TimelineVideo],
    on_unreadable: Literal["raise", "skip"],
    progress: Callable[[int, int], None] | None,
) -> list[Timeline | VideoError]:
    """What the model says of each video, or why it cannot be read."""
    world = current_world()
    share: dict[int, Timeline | VideoError] = {}
    failure: LSNError | None = None

    def report() -> None:
        if progress is not None:
            progress(min(len(share) * world.size, len(videos)), len(videos))

    try:
        for number in range(world.rank, len(videos), world.size):
            try:
                share[number] = make_timeline(predictor, videos[number].path, progress=lambda *_: report())
            except VideoError as error:
                if on_unreadable == "raise":
                    raise type(error)(f"{videos[number].where}: {error}") from error
                logger.warning("left out: %s", error)
                share[number] = error
            report()
    except LSNError as error:  # passed to the other processes, which would wait for this one's share for ever
        failure = error
    world.raise_on_all_ranks(failure)
    found = {number: each for part in world.gather([share]) for number, each in part.items()}
    return [found[number] for number in range(len(videos))]


def _answers(
    video: TimelineVideo, timeline: Timeline, manifest: TimelineManifest, rules: EventRules, background: str
) -> VideoAnswers:
    """What is measured of a video, with times that count from its first frame."""
    start, track = timeline.start_seconds, timeline.track
    events, kept = known_events(video, timeline, manifest, background=background)
    place_of = {event.id: place for place, event in enumerate(kept)}
    reports = [
        (seconds - start, report.event.label, place_of[report.event.id])
        for seconds, report in timeline.reports
        if report.event.id in place_of
    ]
    targets = frame_targets(
        video, track.seconds_T - start, manifest, TargetRules(multi_label=True), background=background
    )
    assert targets.classes_TK is not None
    counts_T = targets.weights_T > 0
    of_events = np.array([label != rules.background for label in track.labels])
    return VideoAnswers(
        events=events,
        reports=tuple(reports),
        is_true_TK=targets.classes_TK[counts_T] > 0,
        scores_TK=track.probabilities_TK[counts_T][:, of_events],
    )
