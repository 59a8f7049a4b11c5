"""What is found in timelines before training on them."""

import re
from pathlib import Path

import pytest
from video_files import encode_pictures

from lsn.data.timelines.checks import check_timelines, split_problems
from lsn.data.timelines.describe import describe_timelines
from lsn.data.timelines.reading import parse_timelines
from lsn.data.timelines.table import TimelineManifest, TimelineVideo

HEADER = "path,label,start_seconds,end_seconds,scene\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two videos of two seconds, one that is none, and a text."""
    folder = tmp_path_factory.mktemp("timelines")
    for name in ("one.mp4", "two.mp4"):
        encode_pictures(folder / name, num_frames=60)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def problems(folder: Path, tmp_path: Path, rows: str, **options) -> list[str]:
    path = tmp_path / "t.csv"
    path.write_text(HEADER + rows)
    manifest, found = parse_timelines(path, root=folder, group_column="scene")
    return [
        f"{problem.severity} {problem}".replace(str(tmp_path), "")
        for problem in found + check_timelines(manifest, **options)
    ]


def test_sound_timelines_have_no_problems(folder, tmp_path):
    rows = "one.mp4,pour,0,1,a\none.mp4,stir,1,2.3,a\none.mp4,hit,1.5,1.5,a\ntwo.mp4,,,,b\n"
    assert problems(folder, tmp_path, rows, multi_label=True) == []
    assert problems(folder, tmp_path, rows.replace("1.5,1.5", "0,0")) == []


@pytest.mark.parametrize(
    ("rows", "place", "what"),
    [
        (
            "one.mp4,pour,0,1,a\none.mp4,stir,0.5,2,a\n",
            "error line 3",
            "'pour' at 0 to 1 s and 'stir' at 0.5 to 2 s overlap; end one",
        ),
        (
            "one.mp4,pour,0,1.5,a\none.mp4,hit,0.2,0.2,a\none.mp4,stir,1.5,2,a\n",
            "error line 3",
            "'pour' at 0 to 1.5 s and 'hit' at 0.2 s overlap",
        ),
        ("one.mp4,pour,0,1,a\none.mp4,pour,0.5,2,a\n", "error line 3", "overlap; join them or keep one"),
        ("one.mp4,pour,0,2.6,a\n", "error line 2", "'pour' at 0 to 2.6 s lies beyond .*one.mp4, which ends at 2.000 s"),
        ("one.mp4,hit,2,2,a\n", "error line 2", "'hit' at 2 s lies beyond"),
        ("three.mp4,pour,0,1,a\n", "error line 2", "no such video: .*three.mp4; give the folder of the videos"),
        ("broken.mp4,pour,0,1,a\n", "error line 2", "broken.mp4: "),
        ("one.mp4,pour,0,1,a\none.mp4,stir,1,2,b\n", "error line 3", "of group 'b' here and of 'a' in .*line 2"),
        ("one.mp4,Go up,0,1,a\none.mp4,go_up,1,2,a\n", "warning", "'Go up' .1 events. and 'go_up' .*one label in 2"),
        ("one.mp4,hit,1,1,a\none.mp4,hit,1,1,a\n", "warning line 2", "'hit' at 1 s is listed 2 times"),
        ("one.mp4,background,0,1,a\n", "error line 2", "'background' is the name of the background and of an event"),
        ("one.mp4,,,,a\n", "warning", "no usable events in any video"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(rows, place, what, folder, tmp_path):
    (found,) = problems(folder, tmp_path, rows)
    severity, _, line = place.partition(" ")
    assert found.startswith(f"{severity} /t.csv{f' {line}' if line else ''}: ")
    assert re.search(what, found), found


def test_one_file_under_two_names_is_listed_twice(folder, tmp_path):
    (found,) = problems(folder, tmp_path, f"one.mp4,pour,0,1,a\n{folder}/./one.mp4,stir,1,2,a\n")
    assert "one.mp4 is listed twice; first in /t.csv line 2" in found


def test_events_of_one_label_never_overlap_and_others_may_with_multi_label(folder, tmp_path):
    rows = "one.mp4,pour,0,1,a\none.mp4,stir,0.5,2,a\n"
    assert problems(folder, tmp_path, rows, multi_label=True) == []
    assert len(problems(folder, tmp_path, rows.replace("stir", "pour"), multi_label=True)) == 1
    behind = "one.mp4,pour,0,1,a\none.mp4,stir,0.5,2,a\none.mp4,pour,0.8,1.9,a\n"
    (found,) = problems(folder, tmp_path, behind, multi_label=True)
    assert "'pour' at 0 to 1 s and 'pour' at 0.8 to 1.9 s overlap" in found


def test_splits_share_neither_videos_nor_groups_nor_lack_labels(folder, tmp_path):
    splits = []
    for number, rows in enumerate(
        ("one.mp4,pour,0,1,a\none.mp4,hit,1,1,a\n", "one.mp4,pour,0,1,a\ntwo.mp4,stir,0,1,b\n")
    ):
        (tmp_path / f"{number}.csv").write_text(HEADER + rows)
        splits.append(parse_timelines(tmp_path / f"{number}.csv", root=folder, group_column="scene")[0])
    train, val = splits
    assert [problem.message for problem in split_problems(train, val)] == [
        "'stir' occurs 1 times here and never in train",
        "no event in val of hit",
        f"{folder}/one.mp4 is in train, too (1 such videos); each belongs in one split",
        "groups in train and in val: a; leave out one side",
    ]
    assert split_problems(train, train)[0].severity == "error"


def test_timelines_in_numbers(folder, tmp_path):
    path = tmp_path / "t.csv"
    rows = "one.mp4,pour,0,1,a\none.mp4,stir,0.5,1.5,a\none.mp4,hit,1.8,1.8,a\ntwo.mp4,,,,b\nbroken.mp4,pour,0,0.5,c\n"
    path.write_text(HEADER + rows)
    manifest, _ = parse_timelines(path, root=folder)
    found = describe_timelines(manifest)
    assert (found.num_videos, found.num_empty, len(found.unreadable)) == (3, 1, 1)
    assert found.share_without_events == pytest.approx(1 - 1.5 / 4), "where two overlap it counts once"
    pour, hit = found.of_label["pour"], found.of_label["hit"]
    assert (pour.num_events, pour.num_points, pour.duration_seconds.minimum, pour.duration_seconds.maximum) == (
        2,
        0,
        0.5,
        1,
    )
    assert (hit.num_points, hit.duration_seconds) == (1, None)


def test_folders_of_frames_have_no_times(tmp_path):
    (tmp_path / "frames").mkdir()
    manifest = TimelineManifest("t.csv", ("a",), (TimelineVideo(str(tmp_path / "frames"), (), where="t.csv line 2"),))
    (problem,) = [each for each in check_timelines(manifest) if each.severity == "error"]
    assert (
        problem.where == "t.csv line 2"
        and "is a folder of frames, which have no times; make a video" in problem.message
    )
