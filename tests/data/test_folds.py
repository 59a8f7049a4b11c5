"""Folds: groups stay together, every clip is tested once, and classes are spread."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from lsn.data import Clip, Manifest, assign_folds, fold_splits, read_manifest
from lsn.data.clips.writing import write_manifest
from lsn.errors import DataError


def manifest_of(rows):
    """Clips of (label, group)."""
    clips = tuple(Clip(f"{number}.mp4", label, group=group) for number, (label, group) in enumerate(rows))
    return Manifest("all.csv", tuple(sorted({label for label, _ in rows})), clips)


rows_of_groups = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([f"g{n}" for n in range(8)])), min_size=12)


@given(rows=rows_of_groups, num_folds=st.integers(2, 4), seed=st.integers(0, 3))
def test_every_clip_is_tested_once_and_no_group_is_on_both_sides(rows, num_folds, seed):
    manifest = manifest_of(rows)
    try:
        folds = assign_folds(manifest, num_folds, seed=seed)
    except DataError as error:
        groups_of_class = Counter(label for label, _ in set(rows))
        too_few = len({group for _, group in rows}) < num_folds or min(groups_of_class.values()) == 1
        assert too_few or "could not be brought into two" in str(error)
        return
    assert set(folds) == set(range(num_folds))
    tested = []
    for fold in range(num_folds):
        train, test = fold_splits(manifest, folds, fold)
        assert not {clip.group for clip in train.clips} & {clip.group for clip in test.clips}
        assert len(train) + len(test) == len(manifest)
        assert {clip.label for clip in train.clips} == set(manifest.labels)
        tested += test.clips
    assert sorted(clip.path for clip in tested) == sorted(clip.path for clip in manifest.clips)
    assert folds == assign_folds(manifest, num_folds, seed=seed)


def test_a_class_is_not_left_in_one_fold_where_that_can_be_helped():
    rows = [("a", "1")] * 20 + [("b", "1")] * 2 + [("c", "1"), ("a", "2"), ("b", "2"), ("b", "3")] + [("c", "3")] * 2
    folds = assign_folds(manifest_of(rows), 2)
    assert all(len({fold for fold, row in zip(folds, rows, strict=True) if row[0] == label}) == 2 for label in "abc")
    with pytest.raises(DataError, match="could not be brought into two of 2 folds"):
        assign_folds(manifest_of([("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("c", "3"), ("a", "3")]), 2)


def test_a_file_is_one_however_its_path_is_written():
    clips = tuple(
        Clip(path, label, start_seconds=start, end_seconds=start + 1)
        for number in range(6)
        for start, path in ((0.0, f"v/{number}.mp4"), (1.0, f"v/val/../{number}.mp4"))
        for label in ["ab"[number % 2]]
    )
    folds = assign_folds(Manifest("all.csv", ("a", "b"), clips), 3)
    assert folds[::2] == folds[1::2]


def spread(labels, folds):
    """How unevenly the classes lie in the folds: 0 if each has its share of all."""
    counts = np.array([[sum((labels == c) & (folds == f)) for c in np.unique(labels)] for f in np.unique(folds)])
    return (counts / counts.sum(0)).std(0).mean()


def test_classes_are_spread_about_as_evenly_as_by_scikit_learn():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(25), rng.integers(1, 20, 25))
    labels = np.array([f"c{n}" for n in rng.integers(0, 6, len(groups))])
    mine = np.array(assign_folds(manifest_of([(label, f"g{g}") for label, g in zip(labels, groups, strict=True)]), 5))
    theirs = np.empty(len(labels), dtype=int)
    for number, (_, test) in enumerate(
        StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, groups)
    ):
        theirs[test] = number
    assert spread(labels, mine) <= 1.2 * spread(labels, theirs)


def test_without_groups_every_file_is_one():
    folds = assign_folds(manifest_of([("a", ""), ("b", "")] * 6), 3)
    assert Counter(folds) == {0: 4, 1: 4, 2: 4}


def test_clips_of_unknown_group_stay_together():
    manifest = manifest_of(
        [("a", ""), ("b", ""), *[("a", f"g{n}") for n in range(6)], *[("b", f"h{n}") for n in range(6)]]
    )
    folds = assign_folds(manifest, 3)
    assert folds[0] == folds[1]


def test_what_cannot_be_split_is_refused():
    with pytest.raises(DataError, match=r"all.csv: 3 folds of 2 groups; there must be between 2 and 2"):
        assign_folds(manifest_of([("a", "g"), ("a", "h"), ("b", "g"), ("b", "h")]), 3)
    with pytest.raises(DataError, match="all clips of class 'b' are of one group"):
        assign_folds(manifest_of([("a", "g"), ("a", "h"), ("b", "h")]), 2)


def test_a_written_manifest_is_read_back(tmp_path):
    clips = (
        Clip("/videos/=1.mp4", "a", group="g"),
        Clip("/videos/b, c.mp4", "b", start_seconds=0.5, end_seconds=2.25),
        Clip(
            "/videos/frames", "b", first_frame=3, last_frame=9, frame_pattern="img_{:05d}.jpg", num_frames=20, group="h"
        ),
    )
    manifest = Manifest("all.csv", ("a", "b"), clips)
    write_manifest(tmp_path / "again.csv", manifest)
    again = read_manifest(tmp_path / "again.csv", group_column="group").clips
    for one, other in zip(clips, again, strict=True):
        for name in ("path", "label", "group", "window", "frame_pattern", "num_frames"):
            assert getattr(one, name) == getattr(other, name)
