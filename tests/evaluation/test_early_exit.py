"""The threshold against plain loops: each threshold tried on each video, frame by frame."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsn.errors import ConfigError
from lsn.evaluation.early_exit import NEVER, fit_early_exit, split_in_half, stop_frames


@st.composite
def courses(draw, min_videos=1):
    """Confidences and rightness after each frame, with the labels, of a few videos; confidences often tie."""
    num_videos, num_frames = draw(st.integers(min_videos, 9)), draw(st.integers(1, 6))
    size = num_videos * num_frames
    confidences = draw(st.lists(st.integers(0, 16), min_size=size, max_size=size))
    right = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    labels = draw(st.lists(st.integers(0, 2), min_size=num_videos, max_size=num_videos))
    shape = (num_videos, num_frames)
    return torch.tensor(confidences).view(shape) / 16, torch.tensor(right).view(shape), torch.tensor(labels)


def frames_by_hand(confidences, threshold):
    """Frames seen of each video."""
    seen = []
    for row in confidences.tolist():
        reached = [number for number, confidence in enumerate(row, start=1) if confidence >= threshold]
        seen.append(reached[0] if reached else len(row))
    return seen


def figures_by_hand(confidences, right, threshold):
    """Right answers and frames seen, over all videos."""
    seen = frames_by_hand(confidences, threshold)
    return sum(bool(row[number - 1]) for row, number in zip(right, seen, strict=True)), sum(seen)


def choice_by_hand(confidences, right, goal):
    """From the highest good threshold down to the lowest that is good like all between."""
    candidates = sorted({*confidences.flatten().tolist(), NEVER}, reverse=True)
    numbers = [figures_by_hand(confidences, right, threshold)[0] for threshold in candidates]
    needed = min(goal * len(right) - 1e-6, max(numbers))
    first = next(index for index, number in enumerate(numbers) if number >= needed)
    last = first
    while last + 1 < len(numbers) and numbers[last + 1] >= needed:
        last += 1
    return candidates[last]


@given(courses(), st.floats(0, 1, width=32))
def test_a_video_stops_at_the_first_frame_that_is_sure_enough(course, threshold):
    confidences, _, _ = course
    assert stop_frames(confidences, threshold).tolist() == frames_by_hand(confidences, threshold)


@given(courses())
def test_nothing_is_seen_after_the_first_frame_at_zero_and_all_is_seen_above_one(course):
    confidences, _, _ = course
    assert set(stop_frames(confidences, 0.0).tolist()) == {1}
    assert set(stop_frames(confidences, 1.01).tolist()) == {confidences.shape[1]}


@given(courses())
def test_the_curve_is_each_threshold_tried_on_all_videos(course):
    confidences, right, labels = course
    curve = fit_early_exit(confidences, right, labels).curve
    for rule in curve:
        number, seen = figures_by_hand(confidences, right, rule.threshold)
        assert rule.result.num_videos == len(labels)
        assert rule.result.top1 == pytest.approx(number / len(labels))
        assert rule.result.mean_frames == pytest.approx(seen / len(labels))
        assert rule.result.frames_saved == pytest.approx(1 - seen / confidences.numel())
    thresholds = [rule.threshold for rule in curve]
    saved = [rule.result.frames_saved for rule in curve]
    assert thresholds == sorted(set(thresholds))
    assert saved == sorted(saved, reverse=True)
    assert not curve[-1].stops and saved[-1] == 0
    assert saved[0] == pytest.approx(1 - 1 / confidences.shape[1])


@given(courses(), st.none() | st.floats(0, 1))
def test_the_fitted_threshold_saves_the_most_for_the_wanted_accuracy(course, wanted):
    confidences, right, labels = course
    stop = fit_early_exit(confidences, right, labels, wanted_top1=wanted)
    full = right[:, -1].double().mean().item()
    goal = max(0.0, full - 0.01) if wanted is None else wanted
    expected = choice_by_hand(confidences, right, goal)
    assert stop.goal == pytest.approx(goal)
    # Between two confidences any threshold stops the same; the confidences of the last frame do not matter at all.
    assert frames_by_hand(confidences, stop.fitted.threshold) == frames_by_hand(confidences, expected)
    number, seen = figures_by_hand(confidences, right, expected)
    assert stop.fitted.result.top1 == pytest.approx(number / len(labels))
    assert stop.fitted.result.mean_frames == pytest.approx(seen / len(labels))
    best = max(figures_by_hand(confidences, right, c)[0] for c in {*confidences.flatten().tolist(), NEVER})
    assert stop.reached == (best / len(labels) >= goal - 1e-9)
    if not stop.reached:
        assert number == best


@given(courses(min_videos=2), st.none() | st.floats(0, 1))
def test_every_video_is_tested_once_at_the_threshold_of_the_other_half(course, wanted):
    confidences, right, labels = course
    stop = fit_early_exit(confidences, right, labels, wanted_top1=wanted)
    half = split_in_half(labels)
    numbers, frames = [], []
    for index, rule in enumerate(stop.halves):
        fit, test = half != index, half == index
        alone = fit_early_exit(confidences[fit], right[fit], labels[fit], wanted_top1=wanted)
        assert rule.threshold == alone.fitted.threshold
        number, seen = figures_by_hand(confidences[test], right[test], rule.threshold)
        assert rule.result.num_videos == int(test.sum())
        assert rule.result.top1 == pytest.approx(number / int(test.sum()))
        numbers.append(number)
        frames.append(seen)
    assert len(stop.halves) == 2
    assert stop.tested.num_videos == len(labels)
    assert stop.tested.top1 == pytest.approx(sum(numbers) / len(labels))
    assert stop.tested.mean_frames == pytest.approx(sum(frames) / len(labels))
    assert stop.tested.frames_saved == pytest.approx(1 - sum(frames) / confidences.numel())


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_the_halves_are_alike(labels):
    half = split_in_half(torch.tensor(labels)).tolist()
    assert set(half) <= {0, 1}
    assert abs(half.count(0) - half.count(1)) <= 1
    for label in set(labels):
        of_class = [part for part, own in zip(half, labels, strict=True) if own == label]
        assert abs(of_class.count(0) - of_class.count(1)) <= 1


def test_a_lower_threshold_that_is_right_by_luck_is_not_taken():
    confidences = torch.tensor([[0.3, 0.6, 0.9]] * 2)
    right = torch.tensor([[True, False, True]] * 2)  # right at once, then wrong, then right
    stop = fit_early_exit(confidences, right, torch.tensor([0, 0]))
    assert stop.fitted.threshold == NEVER
    assert stop.tested.top1 == 1


def test_an_accuracy_beyond_reach_is_said_and_the_best_given():
    confidences = torch.tensor([[0.5, 0.9], [0.5, 0.9], [0.5, 0.9], [0.5, 0.9]])
    right = torch.tensor([[False, True], [False, True], [False, True], [False, False]])
    stop = fit_early_exit(confidences, right, torch.zeros(4, dtype=torch.int64), wanted_top1=0.9)
    assert not stop.reached
    assert (stop.goal, stop.fitted.threshold, stop.fitted.result.top1) == (0.9, NEVER, 0.75)


def test_a_single_video_is_not_tested():
    stop = fit_early_exit(torch.tensor([[0.5, 0.9]]), torch.tensor([[True, True]]), torch.tensor([0]))
    assert (stop.halves, stop.tested, stop.fitted.threshold) == ((), None, 0.5)


@pytest.mark.parametrize("wanted", [-0.1, 1.1, 95, float("nan")])
def test_an_accuracy_outside_0_to_1_is_refused(wanted):
    with pytest.raises(ConfigError, match=r"must be between 0 and 1, such as 0\.95"):
        fit_early_exit(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), torch.tensor([0]), wanted_top1=wanted)
