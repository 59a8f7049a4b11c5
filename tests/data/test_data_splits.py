"""Setting clips aside: by class, by source, and the same way every time."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.config import DataConfig
from lsn.data import Clip, Manifest, load_splits, read_manifest, split_manifest
from lsn.data.clips.splits import draw_clips
from lsn.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def manifest_of(rows: list[tuple[str, str]], prefix: str = "") -> Manifest:
    """Rows of (label, group)."""
    clips = tuple(Clip(f"{prefix}{i}.mp4", label, group=group, line=i + 2) for i, (label, group) in enumerate(rows))
    return Manifest("m.csv", tuple(sorted({label for label, _ in rows})), clips)


def counts(manifest: Manifest) -> Counter[str]:
    return Counter(clip.label for clip in manifest.clips)


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", *"123456"])), min_size=2, max_size=60)


@given(ROWS, st.floats(0.05, 0.95), st.integers(0, 5))
def test_laws_of_every_split(rows, val_fraction, seed):
    manifest = manifest_of(rows)
    try:
        train, val = split_manifest(manifest, val_fraction=val_fraction, seed=seed)
    except DataError:
        # Only where no source can leave: each holds the whole of some class.
        groups = {group for _, group in rows if group} if any(g for _, g in rows) else set()
        units = [{i for i, row in enumerate(rows) if row[1] == g} for g in groups] or (
            [] if groups else [{i} for i in range(len(rows))]
        )
        total = Counter(label for label, _ in rows)
        for unit in units:
            assert any(n == total[label] for label, n in Counter(rows[i][0] for i in unit).items())
        return
    assert sorted(c.path for c in train.clips + val.clips) == sorted(c.path for c in manifest.clips)
    assert [c.line for c in train.clips] == sorted(c.line for c in train.clips)
    assert train.labels == val.labels == manifest.labels
    assert set(counts(train)) == set(manifest.labels)
    assert not {c.group for c in val.clips} & {c.group for c in train.clips} - {""}
    if any(group for _, group in rows):
        assert all(clip.group for clip in val.clips)


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(2, 40), min_size=1), st.floats(0.01, 0.99), st.integers(0, 9)
)
def test_without_groups_every_class_gives_its_rounded_share(sizes, val_fraction, seed):
    manifest = manifest_of([(label, "") for label, size in sizes.items() for _ in range(size)])
    _, val = split_manifest(manifest, val_fraction=val_fraction, seed=seed)
    assert counts(val) == {label: min(max(1, round(val_fraction * size)), size - 1) for label, size in sizes.items()}


def test_many_small_groups_come_near_the_share():
    rows = [(label, f"{label}{i // 3}") for label in "ab" for i in range(90)]
    for seed in range(5):
        _, val = split_manifest(manifest_of(rows), val_fraction=0.2, seed=seed)
        assert counts(val) == {"a": 18, "b": 18}


def test_the_seed_decides_and_the_place_of_the_files_does_not():
    rows = [("ab"[i % 2], "") for i in range(60)]

    def lines(prefix: str, seed: int) -> list[int]:
        _, val = split_manifest(manifest_of(rows, prefix), val_fraction=0.3, seed=seed)
        return [clip.line for clip in val.clips]

    assert lines("", 0) == lines("/elsewhere/", 0)
    assert lines("", 0) != lines("", 1)


@given(ROWS, st.integers(1, 5), st.integers(0, 5))
def test_so_many_clips_of_each_class(rows, number, seed):
    manifest = manifest_of(rows)
    few, more = (draw_clips(manifest, number + extra, seed=seed) for extra in (0, 1))
    assert counts(few) == {label: min(number, size) for label, size in counts(manifest).items()}
    assert set(few.clips) <= set(more.clips) <= set(manifest.clips)
    assert [clip.line for clip in few.clips] == sorted(clip.line for clip in few.clips)


def test_drawn_clips_are_of_train_alone_and_others_for_another_seed(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,label\n" + "".join(f"{i}.mp4,{'ab'[i % 2]}\n" for i in range(40)))
    for i in range(40):
        (tmp_path / f"{i}.mp4").touch()
    draws = []
    for seed in (0, 0, 1):
        train, val = load_splits(DataConfig(train=str(path), val_fraction=0.5, clips_per_class=3), seed)
        assert (counts(train), counts(val)) == ({"a": 3, "b": 3}, {"a": 10, "b": 10})
        assert not set(train.clips) & set(val.clips)
        draws.append(train.clips)
    assert draws[0] == draws[1] != draws[2]


def test_one_class_is_none_to_learn(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,label\n" + "".join(f"{i}.mp4,all\n" for i in range(4)))
    for i in range(4):
        (tmp_path / f"{i}.mp4").touch()
    with pytest.raises(DataError, match=r"m\.csv.*'all' is the only class; training needs clips of two at least"):
        load_splits(DataConfig(train=str(path)), seed=0)


def test_windows_of_one_file_stay_together():
    clips = tuple(
        Clip(f"{video}.mp4", "ab"[part % 2], start_seconds=float(part), end_seconds=part + 1.0)
        for video in range(10)
        for part in range(4)
    )
    train, val = split_manifest(Manifest("m.csv", ("a", "b"), clips), val_fraction=0.2)
    assert len(val) == 8
    assert not {clip.path for clip in train.clips} & {clip.path for clip in val.clips}


def test_class_of_a_single_source_stays_in_train():
    rows = [("a", "1"), ("a", "2"), ("b", "3"), ("b", "3")]
    train, val = split_manifest(manifest_of(rows), val_fraction=0.5)
    assert counts(val) == {"a": 1}
    assert counts(train) == {"a": 1, "b": 2}


@pytest.mark.parametrize("rows", [[("a", "1"), ("a", "1")], [("a", "")], [("a", ""), ("b", "")]])
def test_nothing_to_set_aside(rows):
    with pytest.raises(DataError, match=r"cannot set clips aside.* set data\.val"):
        split_manifest(manifest_of(rows), val_fraction=0.5)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
class TestRealSets:
    def test_fights_are_split_by_source_video(self):
        data = DataConfig(train=str(SHARED / "surv_fight/index.csv"), group_column="source")
        train, val = load_splits(data, seed=0)
        assert train.labels == ("fight", "nofight")
        assert len(train) + len(val) == 300
        assert not {clip.group for clip in train.clips} & {clip.group for clip in val.clips}
        assert counts(val).keys() == {"fight", "nofight"}
        assert all(24 <= number <= 36 for number in counts(val).values())
        assert sum(not clip.group for clip in train.clips) == 28

    def test_gestures_come_with_their_own_split(self, caplog):
        folder = SHARED / "egogestar"
        data = DataConfig(train=str(folder / "train.csv"), val=str(folder / "val.csv"), group_column="scene")
        with caplog.at_level(logging.WARNING):
            train, val = load_splits(data, seed=0)
        assert (len(train), len(val), len(train.labels)) == (132, 36, 10)
        assert caplog.records == []

    def test_official_list_shifted_by_one_is_recognised(self, tmp_path):
        names = (SHARED / "annotations/something_something/labels.txt").read_text().splitlines()
        official = (SHARED / "annotations/something_something/v1_val.txt").read_text().splitlines()
        shifted = [f"{name} {frames} {int(number) + 1}" for name, frames, number in map(str.split, official)]
        (tmp_path / "shifted.txt").write_text("\n".join(shifted))
        with pytest.raises(DataError, match="off by one: 174 labels have the numbers 0 to 173"):
            read_manifest(tmp_path / "shifted.txt", labels=names)
