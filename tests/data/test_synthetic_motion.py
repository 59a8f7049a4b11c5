"""The pairs of opposite motions: exact reversal, and motions that are what their labels say."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from lsn.data.synthetic import motion
from lsn.video.transforms.mirror import mirror_labels


def render(number, *, seed=0, num_frames=12, size=48):
    rng = np.random.default_rng([seed, number])
    return motion.render(rng, number, num_frames=num_frames, height=size, width=size)


def shape_mask(frames):
    """What differs from the border's colour by more than it varies itself: mostly the shape, (T, H, W)."""
    frames = frames.astype(float)
    border = np.concatenate([frames[:, :3].reshape(-1, 3), frames[:, -3:].reshape(-1, 3)])
    distance = np.linalg.norm(frames - np.median(border, axis=0), axis=-1)
    spread = np.linalg.norm(border - np.median(border, axis=0), axis=-1)
    return np.clip(distance - 1.5 * np.quantile(spread, 0.9), 0, 60)


def moving_mask(frames):
    """What differs from the picture that most frames agree on, (T, H, W)."""
    frames = frames.astype(float)
    difference = np.linalg.norm(frames - np.median(frames, axis=0), axis=-1)
    return np.clip(difference - 40, 0, 100)


def moments(mask):
    """Centroid relative to the middle, (T, 2) as x, y, and mean squared distance from it, (T,)."""
    y, x = np.mgrid[0 : mask.shape[1], 0 : mask.shape[2]] - (mask.shape[1] - 1) / 2
    total = mask.sum((1, 2)) + 1e-6
    centroid = np.stack([(mask * x).sum((1, 2)), (mask * y).sum((1, 2))], axis=1) / total[:, None]
    spread = (mask * ((x - centroid[:, 0, None, None]) ** 2 + (y - centroid[:, 1, None, None]) ** 2)).sum((1, 2))
    return centroid, spread / total


def change(series):
    third = len(series) // 3
    return series[-third:].mean(axis=0) - series[:third].mean(axis=0)


def clockwise(centroid):
    """Twice the signed area swept about the middle; y points down, so clockwise is positive."""
    (x, y), (next_x, next_y) = centroid[:-1].T, centroid[1:].T
    return np.sum(x * next_y - y * next_x)


MEASURES = {  # positive when the clip shows the first motion of the pair
    0: lambda frames: -change(moments(moving_mask(frames))[0][:, 0]),
    1: lambda frames: -change(moments(moving_mask(frames))[0][:, 1]),
    2: lambda frames: clockwise(moments(moving_mask(frames))[0]),
    3: lambda frames: change(shape_mask(frames).sum((1, 2))),
    4: lambda frames: change(moments(shape_mask(frames))[1]),
}


@pytest.mark.parametrize("number", range(10))
def test_the_second_clip_is_the_first_one_backwards(number):
    (first, forward), (second, backward) = render(number)
    assert (first, second) == motion.PAIRS[number % 5]
    assert forward.dtype == np.uint8 and forward.shape == (12, 48, 48, 3)
    np.testing.assert_array_equal(backward, forward[::-1])
    assert not np.array_equal(backward, forward)


@pytest.mark.parametrize("pair", range(5))
def test_motions_are_what_their_labels_say(pair):
    measure = MEASURES[pair]
    signs = [measure(render(pair + 5 * k)[0][1]) > 0 for k in range(30)]
    assert np.mean(signs) >= 0.85


def test_order_tells_a_pair_apart_and_unordered_frames_do_not():
    clips = [(label, frames) for k in range(80) for label, frames in render(5 * k, num_frames=6, size=32)]
    labels = np.array([label for label, _ in clips])
    masks = [moments(moving_mask(frames))[0] / 16 for _, frames in clips]
    ordered = np.array([centroids.ravel() for centroids in masks])
    unordered = np.array([np.sort(centroids, axis=0).ravel() for centroids in masks])

    def accuracy(features):
        model = KNeighborsClassifier(5).fit(features[:100], labels[:100])
        return model.score(features[100:], labels[100:])

    assert accuracy(ordered) >= 0.9
    assert accuracy(unordered) == 0.5  # a clip and its reverse get the same answer, of which one is right


def test_looks_differ_from_clip_to_clip():
    means = {tuple(render(5 * k)[0][1].mean((0, 1, 2)).round()) for k in range(20)}
    assert len(means) == 20


def test_a_mirrored_clip_gets_the_mirrored_label():
    mirrored = {
        label: motion.LABELS[index] for label, index in zip(motion.LABELS, mirror_labels(motion.LABELS), strict=True)
    }
    swapped = {a: b for a, b in mirrored.items() if a != b}
    assert swapped == {
        "moving left": "moving right",
        "moving right": "moving left",
        "turning clockwise": "turning counter-clockwise",
        "turning counter-clockwise": "turning clockwise",
    }
