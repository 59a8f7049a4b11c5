"""What is found before training starts, and what is not held against the user."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lsn.config import DataConfig
from lsn.data import (
    Clip,
    Manifest,
    check_manifest,
    check_manifests,
    check_splits,
    load_splits,
    raise_on_errors,
    read_manifest,
)
from lsn.errors import DataError


@pytest.fixture
def files(tmp_path):
    """Makes manifests of empty files: `files("train", a="x y", b="z")` has clips x and y of class a and z of b."""

    def make(name: str, labels: tuple[str, ...] | None = None, exist: bool = True, **clips_of_class: str) -> Manifest:
        clips = []
        for label, names in clips_of_class.items():
            for clip_name in names.split():
                path = tmp_path / clip_name
                if exist:
                    path.touch()
                clips.append(Clip(str(path), label, line=len(clips) + 2))
        return Manifest(f"{name}.csv", labels or tuple(sorted(clips_of_class)), tuple(clips))

    return make


def found(problems, severity="error"):
    return [str(problem) for problem in problems if problem.severity == severity]


def test_sound_splits_have_no_problems(files):
    assert check_manifests(files("train", a="1 2", b="3"), files("val", a="4", b="5")) == []


def test_missing_files_are_counted_and_the_first_is_named_with_its_line(files, tmp_path):
    manifest = files("train", a="1 2", b="3 4")
    for name in ("2", "4"):
        (tmp_path / name).unlink()
    (message,) = found(check_manifest(manifest))
    assert message.startswith(f"train.csv line 3: 2 of 4 files are missing, first {tmp_path / '2'}; ")


def test_a_missing_file_with_another_ending_is_suggested(files, tmp_path):
    (tmp_path / "101.webm").touch()
    (message,) = found(check_manifest(files("train", exist=False, a="101")))
    assert "did you mean '101.webm'?" in message


def test_a_folder_of_frames_counts_as_there(tmp_path):
    (tmp_path / "frames").mkdir()
    assert check_manifest(Manifest("m.csv", ("a",), (Clip(str(tmp_path / "frames"), "a"),))) == []


def test_backslashes(tmp_path):
    (message,) = found(check_manifest(Manifest("m.csv", ("a",), (Clip(f"{tmp_path}/a\\x.mp4", "a", line=2),))))
    assert "with / instead of \\" in message


def test_relative_paths_are_looked_up_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp4").touch()
    assert check_manifest(Manifest("m.csv", ("a",), (Clip("x.mp4", "a"),))) == []


def test_unknown_labels(files):
    (message,) = found(check_manifest(files("val", labels=("jump", "wave"), wave="1", wafe="2 3")))
    assert message == "val.csv line 3: unknown label 'wafe' (2 clips); did you mean 'wave'?"


def test_empty_manifest():
    assert found(check_manifest(Manifest("m.csv", (), ()))) == ["m.csv: no usable clips"]


def test_rows_listed_twice_are_a_warning(files):
    problems = check_manifest(files("train", a="1 2 1 1"))
    assert found(problems) == []
    (message,) = found(problems, "warning")
    assert message.startswith("train.csv line 4: 2 rows listed twice")


def test_one_clip_with_two_labels_is_an_error(files):
    (message,) = found(check_manifest(files("train", a="1 2", b="./1")))
    assert message.startswith("train.csv line 4: ")
    assert "is 'b' here and 'a' in line 2" in message


def test_windows_of_one_file_are_not_the_same_clip(tmp_path):
    (tmp_path / "x").touch()
    windows = [Clip(str(tmp_path / "x"), "a", start_seconds=s, end_seconds=s + 1) for s in range(3)]
    assert check_manifest(Manifest("m.csv", ("a",), tuple(windows))) == []


def test_class_that_train_lacks_is_an_error(files):
    labels = ("a", "b", "c")
    problems = check_manifests(files("train", labels, a="1 2"), files("val", labels, a="3", b="4 5"))
    assert found(problems) == ["val.csv: class 'b' has 2 clips here and none in train"]
    assert found(problems, "warning") == ["val.csv: 1 class without any clip: c"]


def test_class_that_val_lacks_is_a_warning(files):
    problems = check_manifests(files("train", a="1", b="2", c="3"), files("val", ("a", "b", "c"), a="4"))
    assert found(problems) == []
    assert found(problems, "warning") == ["val.csv: 2 classes in train but not in val: b, c"]


def test_another_order_of_labels_is_an_error(files):
    problems = check_manifests(files("train", ("a", "b"), a="1", b="2"), files("val", ("b", "a"), a="3", b="4"))
    assert found(problems) == ["val.csv: its labels differ from those of train.csv; read both with the same labels"]


def test_clip_in_both_splits_is_an_error(files):
    (message,) = found(check_manifests(files("train", a="1 2 3"), files("val", a="4 ./2 3")))
    assert message.startswith("val.csv line 3: 2 clips of val also in train, first ")


@pytest.mark.parametrize(
    ("train_window", "val_window", "severity"),
    [
        ({"end_seconds": 2.0}, {"start_seconds": 2.0}, "warning"),
        ({"end_seconds": 2.0}, {"start_seconds": 1.9}, "error"),
        ({"first_frame": 5}, {"last_frame": 5}, "warning"),
        ({"first_frame": 5}, {"last_frame": 6}, "error"),
        ({"first_frame": 5, "last_frame": 9}, {"start_seconds": 100.0}, "error"),
        ({"first_frame": 5, "last_frame": 9}, {}, "error"),
    ],
)
def test_windows_of_one_file_in_both_splits(tmp_path, train_window, val_window, severity):
    (tmp_path / "x").touch()
    train, val = (
        Manifest(f"{name}.csv", ("a",), (Clip(str(tmp_path / "x"), "a", **window),))
        for name, window in (("train", train_window), ("val", val_window))
    )
    assert [problem.severity for problem in check_manifests(train, val)] == [severity]


def overlap(a: Clip, b: Clip) -> bool:
    """What it means that two windows of a file share pictures, pair by pair."""

    def meet(start_a, end_a, start_b, end_b):
        ends = [math.inf if end is None else end for end in (end_a, end_b)]
        return (start_a or 0) < ends[1] and (start_b or 0) < ends[0]

    if all(clip.window[2:] == (None, None) for clip in (a, b)):
        return meet(*a.window[:2], *b.window[:2])
    if all(clip.window[:2] == (None, None) for clip in (a, b)):
        return meet(*a.window[2:], *b.window[2:])
    return True


def windows(start: str, end: str):
    """Some of the windows end before they start, as no manifest may have them."""
    bounds = st.tuples(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))
    return bounds.map(lambda pair: {start: pair[0], end: pair[1]})


in_seconds, in_frames = windows("start_seconds", "end_seconds"), windows("first_frame", "last_frame")
in_both = st.builds(lambda a, b: a | b, in_seconds, in_frames)


def clips_in(windows):
    return st.lists(st.builds(lambda name, window: Clip(f"/{name}", "a", **window), st.sampled_from("xy"), windows))


clips_of_files = clips_in(in_seconds) | clips_in(in_frames) | clips_in(in_seconds | in_frames) | clips_in(in_both)


@given(clips_of_files, clips_of_files)
@example([Clip("/x", "a")], [Clip("/x", "a", end_seconds=0, first_frame=0)])
def test_leaks_are_those_that_a_look_at_every_pair_finds(in_train, in_val):
    train, val = (Manifest(f"{n}.csv", ("a",), tuple(c)) for n, c in (("train", in_train), ("val", in_val)))
    shared = [clip for clip in in_val if any(clip.path == other.path for other in in_train)]
    leaks = [clip for clip in shared if any(clip.path == other.path and overlap(clip, other) for other in in_train)]

    said = [str(problem) for problem in check_manifests(train, val)]

    def count(what):
        return [int(message.split(": ")[1].split()[0]) for message in said if what in message]

    assert count("of val also in train") == [len(leaks)] * bool(leaks)
    assert count("of val cut from files that train has") == [len(shared) - len(leaks)] * (len(leaks) < len(shared))


MANY_WINDOWS = """
from lsn.data import Clip, Manifest, check_manifests
def split(name, offset):
    clips = [Clip("x.mp4", "a", start_seconds=2 * i + offset, end_seconds=2 * i + offset + 1) for i in range(50_000)]
    return Manifest(name, ("a",), tuple(clips))
print(*check_manifests(split("train.csv", 0), split("val.csv", 1)), sep="\\n")
"""


@pytest.mark.slow
def test_fifty_thousand_windows_of_one_file_are_compared_before_the_user_gives_up(tmp_path):
    (tmp_path / "x.mp4").touch()
    said = subprocess.run(
        [sys.executable, "-c", MANY_WINDOWS], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert said.stdout == "val.csv: 50000 clips of val cut from files that train has other windows of\n"


def test_thousands_of_unknown_labels_are_all_named_and_some_get_a_hint(tmp_path):
    (tmp_path / "x").touch()
    clips = tuple(Clip(str(tmp_path / "x"), f"clas {i}", first_frame=i, last_frame=i + 1) for i in range(2000))
    messages = found(check_manifest(Manifest("m.csv", tuple(f"class {i}" for i in range(2000)), clips)))
    assert len(messages) == 2000
    assert messages[0].endswith("unknown label 'clas 0' (1 clip); did you mean 'class 0'?")
    assert "unknown label 'clas 1999' (1 clip); choose from: class 0, " in messages[-1]


def test_a_missing_file_with_bytes_for_a_name_points_to_the_encoding_of_the_manifest(tmp_path):
    (tmp_path / "m.csv").write_bytes("path,label\ncafé.mp4,a\n".encode("latin-1"))
    with pytest.raises(DataError, match="the manifest is not UTF-8, unless the name of the file is not"):
        load_splits(DataConfig(train=str(tmp_path / "m.csv"), val=str(tmp_path / "m.csv")), seed=0)


def test_group_in_both_splits_is_an_error(tmp_path):
    for name in "1234":
        (tmp_path / name).touch()
    train = Manifest(
        "train.csv", ("a",), tuple(Clip(str(tmp_path / n), "a", group=g) for n, g in [("1", "s"), ("2", "")])
    )
    val = Manifest("val.csv", ("a",), tuple(Clip(str(tmp_path / n), "a", group=g) for n, g in [("3", "s"), ("4", "")]))
    (message,) = found(check_manifests(train, val))
    assert message.startswith("val.csv: 1 group in train and in val (s)")


def test_all_problems_of_all_kinds_come_at_once(tmp_path):
    (tmp_path / "there.mp4").touch()
    train, val = tmp_path / "train.csv", tmp_path / "val.csv"
    train.write_text("path,label\nthere.mp4,a\ngone.mp4,b\n,b\n")
    val.write_text("path,label\nthere.mp4,a\nlost.mp4,c\n")
    data = DataConfig(train=str(train), val=str(val))
    with pytest.raises(DataError) as caught:
        load_splits(data, seed=0)
    message = str(caught.value)
    assert message.startswith("5 problems in the data:\n")
    for part in (
        f"{train} line 4: no path",
        f"{train} line 3: 1 of 2 files are missing",
        f"{val} line 3: 1 of 2 files are missing",
        f"{val} line 3: unknown label 'c'",
        f"{val} line 2: 1 clip of val also in train",
    ):
        assert part in message
    *_, problems = check_splits(data, 0)
    assert len(found(problems)) == 5


def test_only_ten_of_many_errors_are_listed(files):
    clips = {f"class{i}": str(i) for i in range(12)}
    with pytest.raises(DataError) as caught:
        raise_on_errors(check_manifest(files("m", labels=("other",), **clips)))
    lines = str(caught.value).split("\n")
    assert lines[0] == "12 problems in the data:"
    assert len(lines) == 12
    assert lines[-1].strip() == "and 2 more; `lsn data check` lists all of them"


def test_warnings_are_logged_and_do_not_stop(files, caplog):
    raise_on_errors(check_manifest(files("train", a="1 1")))
    assert "1 row listed twice" in caplog.text


def test_train_without_a_usable_row_names_the_rows(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,label\nx.mp4,\n")
    with pytest.raises(DataError, match="line 2: no label"):
        load_splits(DataConfig(train=str(path)), seed=0)


def test_train_not_set():
    with pytest.raises(DataError, match=r"data\.train is not set"):
        load_splits(DataConfig(), seed=0)


def test_a_name_that_is_too_long_for_any_file_is_missing(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(f"path,label\n{'a' * 300}.mp4,jump\n", encoding="utf-8")
    (problem,) = check_manifest(read_manifest(path))
    assert "1 of 1 files are missing" in problem.message
