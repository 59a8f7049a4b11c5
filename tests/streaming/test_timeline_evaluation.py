"""Long videos, each run as one stream, and what is found held against what is true."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_recognizer import LABELS
from video_files import encode_pictures

from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.errors import DataError, VideoError
from lsn.streaming import EventRules, StreamingPredictor
from lsn.streaming.timeline_evaluation import evaluate_timelines


@pytest.fixture
def predictor(rated) -> StreamingPredictor:
    """A model of six classes whose first one counts as background; it sees something in every frame."""
    rules = EventRules(on_threshold=0.3, off_threshold=0.2, min_seconds=0, background=LABELS[0])
    return StreamingPredictor(rated, consensus="sliding:0.1", events=rules)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two videos of two seconds; the clock of the second starts at three."""
    folder = tmp_path_factory.mktemp("videos")
    encode_pictures(folder / "one.mp4", num_frames=60)
    encode_pictures(folder / "late.mkv", num_frames=60, times=[90 + number for number in range(60)])
    return folder


def manifest_of(folder: Path, *events: tuple[TimelineEvent, ...]) -> TimelineManifest:
    videos = zip(("one.mp4", "late.mkv"), events, strict=True)
    listed = tuple(TimelineVideo(str(folder / name), found) for name, found in videos)
    return TimelineManifest("t.csv", tuple(sorted({e.label for found in events for e in found})), listed)


def test_what_it_finds_held_against_itself_is_perfect(predictor, folder):
    first = evaluate_timelines(predictor, manifest_of(folder, (), ()))
    found = [video.events for video in first.found.videos]
    assert len(found[0]) >= 1 and all(event.end_seconds <= 2.01 for events in found for event in events)
    assert first.metrics.false == sum(map(len, found)) and first.metrics.num_events == 0
    again = evaluate_timelines(predictor, manifest_of(folder, *found)).metrics
    assert (again.found, again.missed, again.false) == (sum(map(len, found)), 0, 0)
    assert (again.f1["50"], again.edit, again.detection_map["mean"], again.spotting_map["0.25"]) == (1, 1, 1, 1)
    assert 0 <= again.latency.reported_median <= again.latency.right_median <= 2
    assert again.hours == pytest.approx(4 / 3600, rel=0.01)


def test_the_clock_of_a_file_does_not_matter(predictor, folder):
    one, late = evaluate_timelines(predictor, manifest_of(folder, (), ())).found.videos
    assert [event.label for event in one.events] == [event.label for event in late.events]
    for event, same in zip(one.events, late.events, strict=True):
        assert same.start_seconds == pytest.approx(event.start_seconds, abs=0.002)


def test_events_with_another_label_or_at_another_time_are_missed(predictor, folder):
    first = evaluate_timelines(predictor, manifest_of(folder, (), ()))
    found = first.found.videos[0].events
    other = {label: LABELS[1 + number % 5] for number, label in enumerate(LABELS, start=1)}
    wrong = tuple(replace(event, label=other[event.label]) for event in found)
    metrics = evaluate_timelines(predictor, manifest_of(folder, wrong, ())).metrics
    assert (metrics.found, metrics.missed) == (0, len(found))
    assert metrics.latency.reported_median is None


def test_points_are_found_by_their_peaks(predictor, folder):
    first = evaluate_timelines(predictor, manifest_of(folder, (), ()))
    label = first.found.videos[0].events[0].label
    peaks = [e.peak_seconds for e in first.timelines[0].events if e.label == label]
    near = tuple(TimelineEvent(label, peak + 0.1, peak + 0.1) for peak in peaks[:1])
    metrics = evaluate_timelines(predictor, manifest_of(folder, near, ())).metrics
    assert (metrics.found, metrics.missed) == (1, 0)
    far = tuple(TimelineEvent(label, peak + 1.1, peak + 1.1) for peak in peaks[:1])
    assert evaluate_timelines(predictor, manifest_of(folder, far, ())).metrics.missed == 1


def test_where_nobody_has_looked_nothing_counts(predictor, folder):
    first = evaluate_timelines(predictor, manifest_of(folder, (), ()))
    assert first.metrics.false > 0
    listed = (TimelineEvent(LABELS[0], 1.9, 1.95),)
    unknown = replace(manifest_of(folder, listed, ()), unlabelled="unknown")
    metrics = evaluate_timelines(predictor, unknown).metrics
    assert (metrics.false, metrics.num_events) == (0, 0)
    assert metrics.hours == pytest.approx(0.05 / 3600)


def test_events_at_the_same_time_all_count(predictor, folder):
    first = evaluate_timelines(predictor, manifest_of(folder, (), ()))
    event = first.found.videos[0].events[0]
    other = next(label for label in LABELS[1:] if label != event.label)
    both = (event, replace(event, label=other))
    metrics = evaluate_timelines(predictor, manifest_of(folder, both, ())).metrics
    assert (metrics.num_events, metrics.missed) == (2, 1)


def test_what_cannot_be_evaluated_is_refused(predictor, folder):
    strange = manifest_of(folder, (TimelineEvent("strange", 0, 1),), ())
    with pytest.raises(DataError, match=r"t.csv: unknown label 'strange'; choose from"):
        evaluate_timelines(predictor, strange)
    with pytest.raises(DataError, match="no videos to evaluate on"):
        evaluate_timelines(predictor, TimelineManifest("t.csv", (), ()))
    with pytest.raises(VideoError, match=r"none\.mp4"):
        evaluate_timelines(predictor, TimelineManifest("t.csv", (), (TimelineVideo("none.mp4", ()),)))
