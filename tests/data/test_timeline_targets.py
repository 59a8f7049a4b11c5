"""What a model is to answer at each frame, and which stretches it learns from."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.data.timelines.stretches import Piece, StretchRules, StretchSource, TimedVideo
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.data.timelines.targets import TargetRules, frame_targets
from lsn.errors import ConfigError

SECONDS = np.arange(20) / 4  # five seconds at 4 frames per second


def targets(*events, unlabelled="background", labels=("pour", "stir"), **rules):
    video = TimelineVideo("a.mp4", tuple(TimelineEvent(*event) for event in events))
    manifest = TimelineManifest("t.csv", labels, (video,), unlabelled)
    return frame_targets(video, SECONDS, manifest, TargetRules(**rules), background="background")


def test_a_frame_has_the_class_of_the_event_that_it_is_in():
    found = targets(("stir", 1.0, 2.0), ("pour", 3.1, 3.6))
    assert found.classes_T.tolist() == [0] * 4 + [2] * 4 + [0] * 5 + [1] * 2 + [0] * 5
    assert found.weights_T.tolist() == [1] * 20


def test_frames_of_events_count_more_and_those_at_boundaries_less():
    found = targets(("stir", 1.0, 3.0), foreground_weight=3, boundary_seconds=0.5, boundary_weight=0.25)
    expected = [1] * 3 + [0.25] + [0.75] * 2 + [3] * 5 + [0.75] + [0.25] * 2 + [1] * 6
    assert found.weights_T.tolist() == expected  # less than half a second from 1 s and 3 s


def test_a_point_is_the_answer_for_a_while_after_it():
    assert np.flatnonzero(targets(("pour", 2.0, 2.0), point_seconds=0.75).classes_T).tolist() == [8, 9, 10]


def test_where_nobody_has_looked_nothing_counts():
    listed = (("stir", 1.0, 2.0), ("background", 2.0, 3.0))
    found = targets(*listed, unlabelled="unknown", labels=("background", "pour", "stir"))
    assert found.weights_T.tolist() == [0] * 4 + [1] * 8 + [0] * 8
    assert found.classes_T[4:12].tolist() == [2] * 4 + [0] * 4


def test_events_that_may_overlap_have_an_answer_each():
    found = targets(("stir", 1.0, 3.0), ("pour", 2.0, 4.0), multi_label=True)
    assert np.flatnonzero(found.classes_TK[:, 1]).tolist() == list(range(4, 12))
    assert np.flatnonzero(found.classes_TK[:, 0]).tolist() == list(range(8, 16))


def ticked(*videos):
    """Videos of so many ticks at one a second, with events (label, start, end)."""
    return [
        TimedVideo(n, TimelineVideo(f"{n}.mp4", in_order(TimelineEvent(*event) for event in events)), num_ticks)
        for n, (num_ticks, *events) in enumerate(videos)
    ]


lists_of_videos = st.lists(
    st.integers(1, 40).flatmap(
        lambda n: st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, n - 1), st.integers(0, 9)), max_size=3).map(
            lambda events: (n, *((label, start, min(n, start + length)) for label, start, length in events))
        )
    ),
    min_size=1,
    max_size=4,
)


@given(lists_of_videos, st.integers(1, 30), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_stretches_have_their_length_and_lie_in_their_videos(videos, num_ticks, share, splice, seed):
    rules = StretchRules(num_ticks, background_share=share, splice_prob=splice)
    source, lengths = StretchSource(ticked(*videos), rules), [n for n, *_ in videos]
    stretch = source.draw(random.Random(seed), 1.0)
    assert sum(piece.num_ticks for piece in stretch) == num_ticks
    assert all(p.num_ticks >= 1 and p.first >= 0 and p.first + p.num_ticks <= lengths[p.number] for p in stretch)
    assert source.draw(random.Random(seed), 1.0) == stretch


def test_a_rare_label_is_drawn_as_often_as_a_frequent_one():
    often = [("a", start, start + 1) for start in range(0, 900, 10)]
    videos = ticked((1000, *often, ("b", 950, 952)))
    source, rng = StretchSource(videos, StretchRules(20, background_share=0)), random.Random(0)
    rare = sum(
        piece.first <= 950 and piece.first + 20 >= 952 for (piece,) in (source.draw(rng, 1.0) for _ in range(400))
    )
    assert 150 < rare < 250


def test_an_event_is_anywhere_in_its_stretch():
    source = StretchSource(ticked((1000, ("a", 500, 505))), StretchRules(20, background_share=0))
    rng = random.Random(0)
    firsts = Counter(source.draw(rng, 1.0)[0].first for _ in range(800))
    assert set(firsts) == set(range(485, 501))


def test_background_is_drawn_where_it_is_hard():
    videos = ticked((100,), (100,), (300,))
    source, rng = StretchSource(videos, StretchRules(10)), random.Random(0)
    drawn = Counter(source.draw(rng, 1.0, difficulty=[3, 1, 0])[0].number for _ in range(400))
    assert drawn[2] == 0
    assert 260 < drawn[0] < 340


def test_splices_bring_events_and_cuts_without_one():
    videos = ticked((200,), (200, ("a", 100, 105)))
    source, rng = StretchSource(videos, StretchRules(40, background_share=1, splice_prob=1)), random.Random(0)
    kinds = Counter()
    for _ in range(400):
        stretch = source.draw(rng, 1.0)
        part = stretch[1] if len(stretch) > 1 else stretch[0]
        kinds[part.number == 1 and part.first <= 100 and part.first + part.num_ticks >= 105] += 1
    assert 130 < kinds[True] < 270


def test_clips_shorter_than_a_stretch_follow_each_other():
    source = StretchSource(ticked((5, ("a", 0, 5)), (7, ("b", 0, 7))), StretchRules(30))
    stretch = source.draw(random.Random(1), 1.0)
    assert len(stretch) >= 5
    assert all(piece in (Piece(0, 0, 5), Piece(1, 0, 7)) for piece in stretch[:-1])


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="splice_prob is 2; it must be between 0 and 1"):
        StretchRules(10, splice_prob=2)
