"""Lists that come with real data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsn.data import read_manifest
from lsn.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
class TestRealLists:
    def test_gestures(self):
        train = read_manifest(SHARED / "egogestar/train.csv", group_column="scene")
        assert (len(train), len(train.labels)) == (132, 10)
        assert all(Path(clip.path).is_file() for clip in train.clips)
        assert all(Path(clip.path).parent.name == clip.label for clip in train.clips)

    def test_gesture_folders_hold_the_same_clips_as_the_lists(self):
        from_list = read_manifest(SHARED / "egogestar/val.csv")
        from_folder = read_manifest(SHARED / "egogestar/val")
        assert from_list.labels == from_folder.labels
        pairs = [{(clip.path, clip.label) for clip in manifest.clips} for manifest in (from_list, from_folder)]
        assert pairs[0] == pairs[1]

    def test_the_parent_of_the_gesture_splits(self):
        with pytest.raises(DataError, match="holds the splits 'train' and 'val'"):
            read_manifest(SHARED / "egogestar")

    @pytest.mark.parametrize(("name", "num_clips"), [("v2_val.txt", 24_777), ("v1_val.txt", 11_522)])
    def test_something_something(self, name, num_clips):
        folder = SHARED / "annotations/something_something"
        manifest = read_manifest(folder / name, labels=folder / "labels.txt")
        assert (len(manifest), len(manifest.labels)) == (num_clips, 174)
        first = (folder / name).read_text().split("\n", 1)[0].split()
        clip = manifest.clips[0]
        assert [Path(clip.path).name, str(clip.num_frames), str(manifest.label_index(clip.label))] == first
