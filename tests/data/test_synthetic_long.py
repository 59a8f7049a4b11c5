"""Two flashes far apart: their positions, lengths and order, measured on decoded files."""

from collections import Counter

import numpy as np
import pytest

from lsn.data import read_manifest
from lsn.data.synthetic import long, write_synthetic
from lsn.video import open_video


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    data = write_synthetic(
        tmp_path_factory.mktemp("long") / "set", kind="long", num_train=30, num_val=2, size=32, num_frames=48
    )
    clips = []
    for clip in read_manifest(data.train).clips:
        with open_video(clip.path) as reader:
            clips.append((clip.label, reader.frames_at(range(reader.num_frames)).frames_THWC))
    return clips


def flashes(frames):
    """Frames whose mean colour is clearly redder or bluer than the clip is, as a string such as '..RR....BB..'."""
    red_minus_blue = frames.astype(float).mean((1, 2)) @ [1, 0, -1]
    tint = red_minus_blue - np.median(red_minus_blue)
    return "".join("R" if t > 40 else "B" if t < -40 else "." for t in tint)


def test_the_order_of_the_flashes_is_the_label(decoded):
    for label, frames in decoded:
        events = flashes(frames).replace(".", "")
        assert events == ("RRBB" if label == "red then blue" else "BBRR")


def test_the_gap_and_the_ends_are_neutral(decoded):
    for _, frames in decoded:
        timeline = flashes(frames)
        assert len(timeline) == 48
        before, *_, after = timeline.replace("B", "R").split("RR")
        between = timeline.strip(".")[2:-2]
        assert set(between) == {"."} and len(between) >= 20
        assert min(len(before), len(after)) >= 8


def test_places_tell_nothing(decoded):
    positions = {label: Counter() for label in long.LABELS}
    for label, frames in decoded:
        timeline = flashes(frames).replace("B", "R")
        positions[label][timeline.index("R"), len(timeline) - 1 - timeline.rindex("R")] += 1
    red_first, blue_first = positions.values()
    assert len(red_first) > 5
    assert Counter({pair[::-1]: count for pair, count in red_first.items()}) == blue_first


@pytest.mark.parametrize("num_frames", [long.MIN_FRAMES, 50])
def test_all_allowed_places_are_equally_likely(num_frames):
    rng = np.random.default_rng(0)
    allowed = [
        (first, second)
        for first in range(num_frames)
        for second in range(first + 22, num_frames)
        if first >= 8 and second + 2 <= num_frames - 8
    ]
    counts = Counter(long._places(rng, num_frames) for _ in range(200 * len(allowed)))
    assert set(counts) == set(allowed)
    chi_squared = sum((counts[pair] - 200) ** 2 / 200 for pair in allowed)
    assert chi_squared < 2 * len(allowed)


def test_neutral_frames_move(decoded):
    for _, frames in decoded[::2]:
        still = np.abs(np.diff(frames[:8].astype(int), axis=0)).mean((1, 2, 3))
        assert still.mean() > 0.2
