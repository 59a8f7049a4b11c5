"""Metrics of events in long videos, against worked examples and independent code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from lsn.data.timelines.table import TimelineEvent
from lsn.evaluation.timelines.event_metrics import (
    count_events,
    detection_map,
    edit_score,
    false_per_hour,
    spotting_map,
)
from lsn.evaluation.timelines.frame_metrics import average_precision, mean_average_precision
from lsn.evaluation.timelines.latency import measure_latency
from lsn.evaluation.timelines.matching import VideoEvents, overlap
from lsn.evaluation.timelines.metrics import VideoAnswers, measure_timelines


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=60))
def test_average_precision_is_scikit_learns(frames):
    true, scores = (np.array(each) for each in zip(*frames, strict=True))
    true = true.astype(bool)
    if true.any():
        assert average_precision(true, scores / 6) == pytest.approx(average_precision_score(true, scores / 6))
        # A weighted count of positives is what makes half of the frames positive.
        if not true.all():
            weights = np.where(true, (~true).sum() / true.sum(), 1.0)
            expected = average_precision_score(true, scores / 6, sample_weight=weights)
            assert average_precision(true, scores / 6, calibrated=True) == pytest.approx(expected)
    else:
        assert np.isnan(average_precision(true, scores / 6))


def test_calibrated_precision_of_a_worked_example():
    """Of one positive and three negatives the positive is second: w = 3, so 3 / (3 + 1); the plain one is 1/2."""
    true, scores = np.array([False, True, False, False]), np.array([0.9, 0.8, 0.3, 0.1])
    assert average_precision(true, scores) == 0.5
    assert average_precision(true, scores, calibrated=True) == 0.75


def test_the_mean_is_over_classes_that_occur_and_background_is_none():
    is_true = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], dtype=bool)
    scores = np.array([[0.1, 0.9, 0], [0.8, 0.1, 0], [0.7, 0.1, 0.4], [0.0, 0.9, 0.5]])
    assert mean_average_precision(is_true, scores) == 1.0
    assert np.isnan(mean_average_precision(np.zeros((4, 3), dtype=bool), scores))


def spans(*events: tuple[str, float, float]) -> tuple[TimelineEvent, ...]:
    return tuple(TimelineEvent(label, start, end, 0.5) for label, start, end in events)


def test_overlap():
    assert overlap(*spans(("a", 0, 4), ("a", 2, 6))) == pytest.approx(2 / 6)
    assert overlap(*spans(("a", 0, 1), ("a", 2, 6))) == 0
    assert overlap(*spans(("a", 2, 2), ("a", 3, 3))) == 1
    assert overlap(*spans(("a", 2, 2), ("a", 3.1, 3.1))) == 0
    assert overlap(*spans(("a", 2, 2), ("a", 1, 3))) == 0


def test_counts_of_a_worked_example():
    true = spans(("a", 0, 10), ("b", 10, 20), ("a", 30, 40))
    found = spans(("a", 0, 2), ("a", 4, 10), ("b", 9, 16), ("b", 30, 40))
    video = VideoEvents(true, found, seconds=1800)
    # At 0.1 the first a matches (0.2), the second looks at the same and is false; b has 6 / 11; the last b is false.
    counts = count_events([video], tiou=0.1)
    assert (counts.found, counts.missed, counts.false) == (2, 1, 2)
    assert counts.f1 == pytest.approx(2 * 2 / (4 + 3))
    # At 0.25 the first a is too short and the second one matches (0.6).
    assert [count_events([video], tiou=tiou).found for tiou in (0.25, 0.5, 0.6)] == [2, 2, 1]
    assert false_per_hour([video], tiou=0.1) == 4
    assert edit_score([video]) == pytest.approx(1 - 2 / 4)  # a b a against a a b b: one insertion, one replacement


def test_no_events():
    empty = VideoEvents((), (), seconds=60)
    assert count_events([empty], tiou=0.5).f1 == 0
    assert np.isnan(edit_score([empty]))
    assert np.isnan(detection_map([empty], tiou=0.5))
    assert edit_score([VideoEvents((), spans(("a", 0, 1)), seconds=60)]) == 0


events = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 6), st.integers(0, 5)), max_size=8
).map(lambda found: tuple(TimelineEvent(a, s, s + n, c / 5) for a, s, n, c in found))
videos = st.lists(st.builds(VideoEvents, events, events, st.just(30.0)), min_size=1, max_size=4)


def slow_ap(found, true, is_near, total):
    """Literally: walk down the ranking, and at each hit take the best precision from there on."""
    hits, precisions, open_true = 0, [], [list(each) for each in true]
    for rank, (video, event) in enumerate(found, start=1):
        near = [other for other in open_true[video] if is_near(event, other) is not None]
        if near:
            open_true[video].remove(max(near, key=lambda other: is_near(event, other)))
            hits += 1
            precisions.append((rank, hits))
    return sum(max(h / r for r, h in precisions[i:]) for i in range(len(precisions))) / total


def slow_map(videos, is_near):
    averages = []
    for label in sorted({event.label for video in videos for event in video.true}):
        true = [[event for event in video.true if event.label == label] for video in videos]
        found = [(n, e) for n, video in enumerate(videos) for e in video.found if e.label == label]
        found.sort(key=lambda pair: -pair[1].confidence)
        averages.append(slow_ap(found, true, is_near, sum(map(len, true))))
    return np.mean(averages)


@given(videos, st.sampled_from([0.3, 0.5, 0.7]))
def test_detection_map_is_that_of_a_literal_one(videos, tiou):
    def shares(found, true):
        seconds = {x / 10 for x in range(300)}  # all times are whole seconds, so a tenth of one is counted whole
        a, b = ({t for t in seconds if e.start_seconds <= t < e.end_seconds} for e in (found, true))
        share = len(a & b) / len(a | b)
        return share if share >= tiou else None

    if any(video.true for video in videos):
        assert detection_map(videos, tiou=tiou) == pytest.approx(slow_map(videos, shares))


@given(videos, st.sampled_from([0.5, 1, 2]))
def test_spotting_map_is_that_of_a_literal_one(videos, tolerance):
    def distance(found, true):
        away = abs(found.start_seconds - true.start_seconds)
        return -away if away <= tolerance else None

    if any(video.true for video in videos):
        assert spotting_map(videos, tolerance_seconds=tolerance) == pytest.approx(slow_map(videos, distance))


def test_detection_map_of_a_worked_example():
    """Three true, ranking right, wrong, right: precisions 1 and 2/3 at recalls 1/3 and 2/3."""
    true = spans(("a", 0, 10), ("a", 20, 30), ("a", 40, 50))
    found = tuple(TimelineEvent("a", start, start + 10, c) for start, c in ((0, 0.9), (60, 0.8), (20, 0.7)))
    assert detection_map([VideoEvents(true, found, 70)], tiou=0.5) == pytest.approx((1 + 2 / 3) / 3)


def test_latency_of_a_worked_example():
    true = spans(("tick", 10, 14), ("left", 20, 22), ("down", 40, 42))
    found = spans(("tick", 10.5, 14), ("left", 20, 22))
    reports = ((11.0, "right", 0), (12.5, "tick", 0), (14.0, "tick", 0), (20.5, "left", 1), (22.0, "left", 1))
    latency = measure_latency([(VideoEvents(true, found, 60), reports)], tiou=0.1)
    assert (latency.reported_median, latency.right_median) == (0.75, 1.5)  # 1 and 0.5 s; 2.5 and 0.5 s
    assert latency.reported_p90 == pytest.approx(0.95)
    nothing = measure_latency([(VideoEvents(true, (), 60), ())], tiou=0.1)
    assert nothing.reported_median is nothing.right_p90 is None


def test_all_metrics_of_a_video():
    true = spans(("a", 0, 2), ("b", 4, 6))
    events = VideoEvents(true, spans(("a", 0, 2), ("a", 7, 8)), seconds=10)
    is_true = np.zeros((10, 2), dtype=bool)
    is_true[0:2, 0] = is_true[4:6, 1] = True
    metrics = measure_timelines([VideoAnswers(events, ((0.5, "a", 0),), is_true, np.where(is_true, 0.9, 0.1))])
    assert (metrics.found, metrics.missed, metrics.false, metrics.false_per_hour) == (1, 1, 1, 360)
    assert (metrics.frame_map, metrics.f1["50"], metrics.edit) == (1, 0.5, 0.5)
    assert metrics.detection_map["mean"] == metrics.spotting_map["1"] == 0.5
    assert metrics.latency.right_median == 0.5
