"""How good a model is on long videos: each is run once, as one stream, and counted once.

Shapes: T ticks, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

import numpy as np

from lsn.data.clips.text import suggestion
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.data.timelines.targets import TargetRules, frame_targets
from lsn.errors import DataError
from lsn.evaluation.timelines.matching import VideoEvents
from lsn.evaluation.timelines.metrics import TimelineMetrics, VideoAnswers, measure_timelines
from lsn.streaming.found_events import found_event, is_known, known_spans, point_labels
from lsn.streaming.predictor import StreamingPredictor
from lsn.streaming.timeline import Timeline, make_timeline


@dataclass(frozen=True, eq=False)
class TimelineEvaluation:
    """What a model found in long videos, and how good that is."""

    found: TimelineManifest
    """The found events with their confidence."""
    metrics: TimelineMetrics
    timelines: tuple[Timeline, ...]
    """What the model has said of each video."""


def evaluate_timelines(
    predictor: StreamingPredictor,
    manifest: TimelineManifest,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> TimelineEvaluation:
    """Runs a model over every video of a manifest as one stream, and measures what it finds.

    Args:
        predictor: with a free slot; its rules say what an event is, and which class is the background.
        manifest: videos and what happens in them; the labels of its events must be among those of the model.
        progress: called with the videos done and their number.

    Raises:
        DataError: there is no video, or an event has a label that the model does not know.
        VideoError: a video cannot be read.
    """
    if not len(manifest):
        raise DataError(f"{manifest.source}: no videos to evaluate on; give at least one")
    background = predictor.events.background
    labels = tuple(label for label in predictor.labels if label != background)
    for label in manifest.labels:
        if label not in (*labels, background):
            raise DataError(f"{manifest.source}: unknown label {label!r}; {suggestion(label, labels)}")
    manifest = replace(manifest, labels=labels)
    answers, videos, timelines = [], [], []
    points = point_labels(manifest)
    for number, video in enumerate(manifest.videos, start=1):
        timeline = make_timeline(predictor, video.path)
        timelines.append(timeline)
        answers.append(_answers(video, timeline, manifest, background or "", points))
        videos.append(replace(video, events=answers[-1].events.found))
        if progress is not None:
            progress(number, len(manifest))
    found = replace(manifest, videos=tuple(videos))
    return TimelineEvaluation(found, measure_timelines(answers), tuple(timelines))


def _answers(
    video: TimelineVideo, timeline: Timeline, manifest: TimelineManifest, background: str, points: Container[str]
) -> VideoAnswers:
    """What is measured of a video, with times that count from its first frame."""
    start, track = timeline.start_seconds, timeline.track
    spans = known_spans(video, manifest, timeline.duration_seconds)
    kept = [event for event in timeline.events if is_known(found_event(event, start), spans)]
    place_of = {event.id: place for place, event in enumerate(kept)}
    reports = [
        (seconds - start, report.event.label, place_of[report.event.id])
        for seconds, report in timeline.reports
        if report.event.id in place_of
    ]
    rules = TargetRules(multi_label=True)
    targets = frame_targets(video, track.seconds_T - start, manifest, rules, background=background)
    assert targets.classes_TK is not None
    counts_T = targets.weights_T > 0
    of_events = np.array([label != background for label in track.labels])
    true = tuple(event for event in video.events if event.label != background)
    found = tuple(found_event(event, start, as_point=event.label in points) for event in kept)
    return VideoAnswers(
        events=VideoEvents(true, found, sum(end - begin for begin, end in spans)),
        reports=tuple(reports),
        is_true_TK=targets.classes_TK[counts_T] > 0,
        scores_TK=track.probabilities_TK[counts_T][:, of_events],
    )
