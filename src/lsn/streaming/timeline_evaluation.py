"""How good a model is on long videos: each is run once, as one stream, and counted once.

Shapes: T ticks, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lsn.data.clips.text import suggestion
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.data.timelines.targets import TargetRules, frame_targets
from lsn.errors import DataError
from lsn.evaluation.timelines.matching import VideoEvents
from lsn.evaluation.timelines.metrics import TimelineMetrics, VideoAnswers, measure_timelines
from lsn.streaming.event_fitting import found_event
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
    for number, video in enumerate(manifest.videos, start=1):
        timeline = make_timeline(predictor, video.path)
        timelines.append(timeline)
        answers.append(_answers(video, timeline, manifest, background or ""))
        videos.append(replace(video, events=answers[-1].events.found))
        if progress is not None:
            progress(number, len(manifest))
    found = replace(manifest, videos=tuple(videos))
    return TimelineEvaluation(found, measure_timelines(answers), tuple(timelines))


def _answers(video: TimelineVideo, timeline: Timeline, manifest: TimelineManifest, background: str) -> VideoAnswers:
    """What is measured of a video, with times that count from its first frame."""
    start, track = timeline.start_seconds, timeline.track
    events = [found_event(event, start) for event in timeline.events]
    place_of = {event.id: place for place, event in enumerate(timeline.events)}
    reports = [
        (seconds - start, report.event.label, place_of[report.event.id])
        for seconds, report in timeline.reports
        if report.event.id in place_of
    ]
    targets = frame_targets(video, track.seconds_T - start, manifest, TargetRules(), background=background)
    counts_T = targets.weights_T > 0
    of_events = np.array([label != background for label in track.labels])
    true = tuple(event for event in video.events if event.label != background)
    return VideoAnswers(
        events=VideoEvents(true, tuple(events), timeline.duration_seconds),
        reports=tuple(reports),
        classes_T=targets.classes_T[counts_T] - 1,
        scores_TK=track.probabilities_TK[counts_T][:, of_events],
    )
