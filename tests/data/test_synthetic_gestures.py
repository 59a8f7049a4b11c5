"""The ten finger paths as EgoGestAR's people draw them, and the hand that draws them."""

import numpy as np
import pytest

from lsn.data.synthetic import gestures
from lsn.data.synthetic.hand import draw_hand, random_hand
from lsn.data.synthetic.paths import LABELS, gesture_path


def paths(label, count=20):
    return [gesture_path(np.random.default_rng([7, k]), label, num_frames=64) for k in range(count)]


def winding_degrees(path):
    """Angle swept about the middle of the path, clockwise as seen."""
    x, y = (path - (path.min(axis=0) + path.max(axis=0)) / 2).T
    angle = np.unwrap(np.arctan2(y, x))
    return np.degrees(angle[-1] - angle[0])


@pytest.mark.parametrize(
    ("label", "direction"), [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))]
)
def test_straight_strokes(label, direction):
    for path in paths(label):
        moved = path[-1] - path[0]
        assert moved @ direction > 1.3
        assert abs(moved @ direction[::-1]) < 0.7


def test_tick_and_caret_have_their_corner_below_and_above():
    for tick, caret in zip(paths("tick"), paths("caret"), strict=True):
        assert tick[-1, 0] > tick[0, 0] + 1 and caret[-1, 0] > caret[0, 0] + 1
        assert tick[:, 1].max() > max(tick[0, 1], tick[-1, 1]) + 0.5
        assert caret[:, 1].min() < min(caret[0, 1], caret[-1, 1]) - 0.5


@pytest.mark.parametrize(("label", "winding"), [("circle", -360), ("square", 360), ("star", 720)])
def test_closed_paths_turn_their_way(label, winding):
    assert all(np.hypot(*(path[-1] - path[0])) < 0.9 for path in paths(label))
    right = [abs(winding_degrees(path) - winding) < 90 for path in paths(label, 40)]
    assert np.mean(right) >= 0.85  # the lines of a crooked star may miss its middle


def test_starts_of_closed_paths_and_the_cross():
    for circle, square, star, cross in zip(*map(paths, ("circle", "square", "star", "cross")), strict=True):
        assert circle[0, 0] > 0 and circle[0, 1] < 0.2
        assert max(square[0]) < 0 and max(cross[0]) < 0
        assert star[0, 0] < 0 < star[0, 1]
        assert cross[-1, 0] > 0 > cross[-1, 1]


def test_paths_rest_at_both_ends_and_differ():
    starts = {tuple(path[0]) for path in paths("star")}
    rests = [int((np.hypot(*(path - path[0]).T) < 1e-6).sum()) for path in paths("star")]
    assert len(starts) == 20
    assert min(rests) < 4 < max(rests)


def test_the_hand_hangs_from_its_fingertip_and_leaves_the_frame():
    for seed, (x, y) in enumerate([(0.5, 0.4), (0.7, 0.3), (0.2, 0.2), (1.0, 0.6)] * 3):
        frames = np.full((2, 96, 128, 3), 0.5, dtype=np.float32)
        draw_hand(frames, random_hand(np.random.default_rng(seed)), np.full((2, 2), (x, y), dtype=np.float32))
        rows, columns = np.nonzero(np.abs(frames[0] - 0.5).max(-1) > 0.02)
        assert abs(rows.min() - 96 * y) < 3
        assert abs(columns[rows <= rows.min() + 1].mean() - 96 * x) < 5
        assert rows.max() == 95 or columns.max() == 127


def test_every_label_is_rendered_in_turn():
    rendered = [gestures.render(np.random.default_rng(k), k, num_frames=8, height=36, width=48) for k in range(10)]
    assert [label for ((label, _),) in rendered] == list(LABELS)
    assert {frames.shape for ((_, frames),) in rendered} == {(8, 36, 48, 3)}
