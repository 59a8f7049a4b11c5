"""Train, validation and test timelines as a training takes them."""

import pytest
from video_files import encode_pictures

from lsn.config import DataConfig, TimelineConfig
from lsn.data.timelines.splits import load_timelines, split_timelines
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.errors import DataError

HEADER = "path,label,start_seconds,end_seconds"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in ("one", "two", "three"):
        encode_pictures(folder / f"{name}.mp4", num_frames=30, rate=10)
    (folder / "broken.mp4").write_text("no video")
    return folder


def table(folder, name, *rows, header=HEADER):
    (folder / name).write_text("\n".join([header, *rows]) + "\n")
    return str(folder / name)


def load(train, val=None, *, data=None, **timelines):
    options = {"kind": "timelines", "train": train, "val": val} | (data or {})
    return load_timelines(DataConfig(**options), TimelineConfig(**timelines), seed=0)


def test_a_file_that_cannot_be_opened_stops_or_is_left_out(folder, caplog):
    train = table(folder, "train.csv", "one.mp4,a,0,1", "broken.mp4,a,0,1")
    val = table(folder, "val.csv", "two.mp4,a,0,1")
    with pytest.raises(DataError, match=r"train\.csv line 3: .*broken\.mp4"):
        load(train, val)
    found, _, test = load(train, val, data={"on_unreadable": "skip"})
    assert len(found) == 1 and test is None
    assert "left out" in caplog.text and "train.csv line 3" in caplog.text


def test_subsets_are_not_mixed(folder):
    header = f"{HEADER},subset"
    rows = ("one.mp4,a,0,1,training", "two.mp4,a,0,1,validation")
    train = table(folder, "subsets.csv", *rows, header=header)
    with pytest.raises(
        DataError, match=r"holds the subsets 'training' and 'validation', which would be mixed; .*--subset"
    ):
        load(train)
    one = table(folder, "training.csv", rows[0], "three.mp4,a,0,1,training", header=header)
    assert len(load(one)[0]) == 1


def test_videos_of_two_splits_are_refused(folder):
    train = table(folder, "train.csv", "one.mp4,a,0,1")
    with pytest.raises(DataError, match=r"one\.mp4 is in train, too"):
        load(train, train)
    val = table(folder, "val.csv", "two.mp4,a,0,1")
    with pytest.raises(DataError, match=r"two\.mp4 is in val, too"):
        load(train, val, data={"test": val})


def test_unknown_time_needs_listed_background(folder):
    train = table(folder, "train.csv", "one.mp4,a,0,1")
    val = table(folder, "val.csv", "two.mp4,a,0,1")
    with pytest.raises(DataError, match=r"no span is listed as 'background', so nothing shows what is no event"):
        load(train, val, unlabelled="unknown")
    train = table(folder, "train.csv", "one.mp4,a,0,1", "one.mp4,background,1,2")
    assert load(train, val, unlabelled="unknown")[0].labels == ("a", "background")


def manifest_of(*videos):
    listed = [
        TimelineVideo(f"{number}.mp4", tuple(TimelineEvent(label, 0, 1) for label in labels), group=group)
        for number, (group, labels) in enumerate(videos)
    ]
    return TimelineManifest("t.csv", ("a", "b"), tuple(listed))


@pytest.mark.parametrize("seed", range(30))
def test_what_is_set_aside_has_events_and_leaves_every_label(seed):
    manifest = manifest_of(
        ("x", "ab"), ("x", "b"), ("y", "a"), ("y", ""), *[(f"e{n}", "") for n in range(5)], ("z", "b")
    )
    train, val = split_timelines(manifest, val_fraction=0.2, seed=seed)
    assert set(train.num_events()) == {"a", "b"} and sum(val.num_events().values()) >= 1
    assert len(train) + len(val) == len(manifest)
    assert not {video.group for video in train.videos} & {video.group for video in val.videos}


def test_what_cannot_be_split_is_said():
    with pytest.raises(DataError, match=r"no video or group with events can be set aside"):
        split_timelines(manifest_of(("x", "ab"), ("y", "")), val_fraction=0.5)
