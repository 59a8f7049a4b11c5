"""Official annotation files to manifests: the real ones beside the project, and small copies of their forms."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lsn.cli.app import main
from lsn.config import DataConfig
from lsn.data import check_splits, read_labels, read_manifest
from lsn.data.official import DATASETS, prepare
from lsn.errors import ConfigError, DataError
from lsn.video import write_video

REAL = Path(__file__).parents[3] / "shared/data/annotations"
NAMES = [f"Doing {number:03d}, something" for number in range(174)]
V1, V2 = "something-something-v1", "something-something-v2"


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def rows_of(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def message(function, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def v1_lists(folder, train=(("1", 5), ("2", 9)), val=(("3", 5),), names=None):
    """V1's CSV files; its own order of labels is not the sorted one."""
    write_lines(folder / f"{V1}-labels.csv", names or reversed(NAMES))
    for split, rows in (("train", train), ("validation", val)):
        write_lines(folder / f"{V1}-{split}.csv", [f"{name};{NAMES[number]}" for name, number in rows])


def v2_lists(folder, train=(("1", 5), ("2", 9)), val=(("3", 5),)):
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {name: str(number) for number, name in enumerate(NAMES)}
    (folder / f"{V2}-labels.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    for split, rows in (("train", train), ("validation", val)):
        videos = [
            {"id": name, "label": "free text", "template": NAMES[number].replace("something", "[something]")}
            for name, number in rows
        ]
        (folder / f"{V2}-{split}.json").write_text(json.dumps(videos, indent=1), encoding="utf-8")


def diving_lists(folder, train=(("a_1", 0), ("b_2", 47)), val=(("c_3", 0),), version="_V2"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Diving48_vocab.json").write_text(json.dumps([["Back", f"{n}som", "FREE"] for n in range(48)]))
    for split, rows in (("train", train), ("test", val)):
        videos = [{"vid_name": name, "label": label, "start_frame": 0, "end_frame": 9} for name, label in rows]
        (folder / f"Diving48{version}_{split}.json").write_text(json.dumps(videos, indent=1))


def frames(folder, names, count=3):
    for name in names:
        write_lines(folder / name / ".keep", [])
        for number in range(1, count + 1):
            (folder / name / f"{number:05d}.jpg").write_bytes(b"a picture that nobody opens here")


def videos(folder, names, suffix=".mp4"):
    clip_THWC = (np.arange(4 * 8 * 8 * 3) % 256).astype(np.uint8).reshape(4, 8, 8, 3)
    for name in names:
        write_video(folder / f"{name}.mp4", clip_THWC, fps=10)
        (folder / f"{name}.mp4").rename(folder / f"{name}{suffix}")


@pytest.mark.parametrize(
    ("name", "folder", "train", "val", "unused"),
    [
        (V1, "something_something", 86_017, 11_522, []),
        (V2, "something_something", 168_913, 24_777, []),
        ("diving48", "diving48", 15_027, 1_970, ["Forward Dive NoTwis STR"]),
        ("diving48-v1", "diving48", 15_943, 2_096, []),
    ],
)
def test_the_real_annotations_give_every_row_its_class(tmp_path, name, folder, train, val, unused):
    if not REAL.is_dir():
        pytest.skip("the official annotation files are not beside the project")

    prepared = prepare(name, annotations=REAL / folder, videos=None, out=tmp_path / "out")

    assert (prepared.num_train, prepared.num_val) == (train, val)
    assert (DATASETS[name].num_train, DATASETS[name].num_val) == (train, val)
    assert list(prepared.unused_labels) == unused
    labels = read_labels(tmp_path / "out/labels.txt")
    expected = {
        V1: lambda: tsn_rows(REAL / folder / "v1_val.txt", ""),
        V2: lambda: tsn_rows(REAL / folder / "v2_val.txt", ".webm"),
        "diving48": lambda: diving_rows(REAL / folder / "Diving48_V2_test.json"),
        "diving48-v1": lambda: diving_rows(REAL / folder / "Diving48_test.json"),
    }[name]()
    assert [(row["path"], labels.index(row["label"])) for row in rows_of(prepared.val)] == expected


def tsn_rows(path, suffix):
    rows = (line.split() for line in path.read_text().splitlines())
    return [(name + suffix, int(number)) for name, _, number in rows]


def diving_rows(path):
    return [(f"{row['vid_name']}.mp4", row["label"]) for row in json.loads(path.read_text())]


def test_v1_from_its_csv_files_and_frames(tmp_path):
    v1_lists(tmp_path / "lists")
    frames(tmp_path / "frames", ["1", "2", "3"])

    prepared = prepare(V1, annotations=tmp_path / "lists", videos=tmp_path / "frames", out=tmp_path / "out")

    assert rows_of(prepared.train) == [
        {"path": "../frames/1", "label": NAMES[5], "num_frames": "3"},
        {"path": "../frames/2", "label": NAMES[9], "num_frames": "3"},
    ]
    # Not in the order of V1's own file: what numbers the classes elsewhere numbers the sorted names.
    assert read_labels(tmp_path / "lists" / f"{V1}-labels.csv") == tuple(reversed(NAMES))
    assert read_labels(tmp_path / "out/labels.txt") == tuple(NAMES)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dataset.json",
        "labels.txt",
        "train.csv",
        "val.csv",
    ]


@pytest.mark.parametrize("short_names", [False, True])
def test_v2_from_its_json_files_and_videos(tmp_path, short_names):
    v2_lists(tmp_path / "lists")
    if short_names:  # as the files are called today
        for path in (tmp_path / "lists").iterdir():
            path.rename(path.with_name(path.name.removeprefix(f"{V2}-")))
    videos(tmp_path / "videos", ["1", "2", "3"], suffix=".webm")

    prepared = prepare(V2, annotations=tmp_path / "lists", videos=tmp_path / "videos", out=tmp_path / "out")

    config = DataConfig(train=str(prepared.train), val=str(prepared.val), labels=str(tmp_path / "out/labels.txt"))
    train, val, problems = check_splits(config, seed=0)
    assert [clip.label for clip in (*train.clips, *val.clips)] == [NAMES[5], NAMES[9], NAMES[5]]
    assert train.labels == tuple(NAMES)
    assert [str(problem) for problem in problems if problem.severity == "error"] == []


def test_tsn_lists_number_the_sorted_names(tmp_path):
    write_lines(tmp_path / "train_videofolder.txt", ["1 3 5", "2 3 9"])
    write_lines(tmp_path / "val_videofolder.txt", ["3 3 5"])
    write_lines(tmp_path / "category.txt", NAMES)

    prepared = prepare(V1, annotations=tmp_path, videos=None, out=tmp_path / "out")
    assert [row["label"] for row in rows_of(prepared.train)] == [NAMES[5], NAMES[9]]

    write_lines(tmp_path / "category.txt", reversed(NAMES))
    said = message(prepare, V1, annotations=tmp_path, videos=None, out=tmp_path / "other")
    assert "category.txt line 1: 'Doing 173, something', where the sorted names have 'Doing 000, something'" in said


def test_diving48_names_its_dives_and_keeps_the_class_without_videos(tmp_path):
    diving_lists(tmp_path / "lists")
    videos(tmp_path / "rgb", ["a_1", "b_2", "c_3"])

    prepared = prepare("diving48", annotations=tmp_path / "lists", videos=tmp_path / "rgb", out=tmp_path / "out")

    assert [row["label"] for row in rows_of(prepared.train)] == ["Back 0som FREE", "Back 47som FREE"]
    assert "Back 30som FREE" in prepared.unused_labels
    assert len(read_labels(tmp_path / "out/labels.txt")) == 48


def test_the_labels_of_both_versions_of_diving48_never_meet(tmp_path):
    diving_lists(tmp_path, train=[("a_1", 0), ("b_2", 30)])
    said = message(prepare, "diving48", annotations=tmp_path, videos=None, out=tmp_path / "out")
    assert "Diving48_V2_train.json line 8: label 30 (Back 30som FREE)" in said
    assert "diving48-v1" in said

    said = message(prepare, "diving48-v1", annotations=tmp_path, videos=None, out=tmp_path / "out")
    assert "no annotations of Diving48 V1 there; expected Diving48_train.json" in said


def test_missing_videos_are_counted_and_left_out_only_when_asked(tmp_path):
    v1_lists(tmp_path / "lists")
    frames(tmp_path / "frames", ["1", "3"])
    paths = {"annotations": tmp_path / "lists", "videos": tmp_path / "frames", "out": tmp_path / "out"}

    said = message(prepare, V1, **paths)
    assert f"{V1}-train.csv line 2: 1 of 3 videos are not in {tmp_path / 'frames'}: 2; " in said
    assert not (tmp_path / "out").exists()

    prepared = prepare(V1, **paths, skip_missing=True)
    assert [row["path"] for row in rows_of(prepared.train)] == ["../frames/1"]
    assert prepared.missing == (f"{tmp_path}/lists/{V1}-train.csv line 2: 2",)
    assert (tmp_path / "out/missing.txt").read_text() == f"{tmp_path}/lists/{V1}-train.csv line 2: 2\n"


def test_a_folder_above_the_videos_is_recognised(tmp_path):
    v1_lists(tmp_path / "lists")
    frames(tmp_path / "data/20bn-something-something-v1", ["1", "2", "3"])

    said = message(prepare, V1, annotations=tmp_path / "lists", videos=tmp_path / "data", out=tmp_path / "out")

    assert "3 of 3 videos are not in" in said
    assert "100218/00001.jpg; is it in one of 20bn-something-something-v1?" in said


def spoil_hole(root):
    (root / "frames/2/00002.jpg").unlink()


def spoil_beginning(root):
    (root / "frames/2/00001.jpg").unlink()


def spoil_two_endings(root):
    (root / "frames/2.mp4").write_bytes(b"x")


def spoil_empty(root):
    (root / "frames/2.mp4").write_bytes(b"")
    for path in (root / "frames/2").iterdir():
        path.unlink()
    (root / "frames/2").rmdir()


def spoil_missing_name(root):
    v1_lists(root / "lists", names=NAMES[:173])


def spoil_class(root):
    write_lines(root / f"lists/{V1}-train.csv", [f"1;{NAMES[5]}", "2;Doing 09, something"])


def spoil_twice(root):
    v1_lists(root / "lists", train=[("1", 5), ("2", 9), ("1", 5)])


def spoil_both_splits(root):
    v1_lists(root / "lists", val=[("1", 5), ("3", 5)])


def spoil_row(root):
    write_lines(root / f"lists/{V1}-train.csv", [f"1;{NAMES[5]}", "2,Doing 09"])


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (spoil_hole, ["train.csv line 2", "2 of 3 frames are there; missing: 2"]),
        (spoil_beginning, ["train.csv line 2", "the frames begin with number 2; those before are missing"]),
        (spoil_two_endings, ["train.csv line 2", "frames/2 and", "frames/2.mp4 are both video '2'"]),
        (spoil_empty, ["train.csv line 2", "empty file (0 bytes)"]),
        (spoil_missing_name, ["labels.csv: 173 class names, but Something-Something V1 has 174"]),
        (spoil_class, ["train.csv line 2", "'Doing 09, something' (1 video) is not in the labels file; did you mean"]),
        (spoil_twice, ["train.csv line 3", "video '1' is listed here and in", "train.csv line 1; keep one"]),
        (spoil_both_splits, ["validation.csv line 1", "listed here and in", "train.csv line 1"]),
        (spoil_row, ["train.csv line 2: expected 'id;class name', got '2,Doing 09'"]),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line_and_nothing_is_written(tmp_path, spoil, expected):
    v1_lists(tmp_path / "lists")
    frames(tmp_path / "frames", ["1", "2", "3"])
    spoil(tmp_path)

    said = message(prepare, V1, annotations=tmp_path / "lists", videos=tmp_path / "frames", out=tmp_path / "out")

    for part in expected:
        assert part in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "lists"]


@pytest.mark.parametrize("name", [V1, V2])
def test_fewer_frames_than_a_list_promises_are_an_error(tmp_path, name):
    write_lines(tmp_path / "lists/train_videofolder.txt", ["1 3 5", "frames/2 4 9"])
    write_lines(tmp_path / "lists/val_videofolder.txt", ["3 3 5"])
    write_lines(tmp_path / "lists/category.txt", NAMES)
    frames(tmp_path / "frames", ["1", "2", "3"])

    said = message(prepare, name, annotations=tmp_path / "lists", videos=tmp_path / "frames", out=tmp_path / "out")

    assert "train_videofolder.txt line 2" in said
    assert "holds 3 of 4 frames" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[\n {"id": "1", "template": "Doing 005, [something]"},\n {"id": "2", "temp',
            ["line 3", "ends in the middle"],
        ),
        ('[\n {"id": "1", "template": "Doing 005, [something]"},\n', ["line 3", "ends in the middle"]),
        ('[\n {"id": "1", "template": "Doing 005, [something]"}\n {}]', ["line 3", "expected , or ]"]),
        ('[\n {"id": "1"}]', ["line 2: expected a text under 'template', got None; the keys are id"]),
        ('[\n {"id": 1, "template": "x"}]', ["line 2: expected a text under 'id', got 1"]),
        ("[\n 3]", ["line 2: expected an object"]),
        ("{}", ["expected a JSON list"]),
        ("[]", ["lists no videos"]),
        ('[{"id": "1", "template": "x"}]\n[]', ["line 2", "something follows the list"]),
        ("[" * 100_000, ["line 1"]),
        ('[{"id": "\\ud800", "template": "x"}]', ["line 1: expected a text under 'id'"]),
        ("", ["expected a JSON list"]),
    ],
)
def test_broken_json_is_named_with_its_line(tmp_path, text, expected):
    v2_lists(tmp_path / "lists")
    (tmp_path / f"lists/{V2}-train.json").write_text(text, encoding="utf-8")

    said = message(prepare, V2, annotations=tmp_path / "lists", videos=None, out=tmp_path / "out")

    assert f"{V2}-train.json" in said
    for part in expected:
        assert part in said


def test_a_list_with_a_name_too_few_is_blamed_on_the_labels_file(tmp_path):
    write_lines(tmp_path / "lists/train_videofolder.txt", ["1 3 173"])
    write_lines(tmp_path / "lists/val_videofolder.txt", ["3 3 5"])
    write_lines(tmp_path / "lists/category.txt", NAMES[:-1])
    said = message(prepare, V1, annotations=tmp_path / "lists", videos=None, out=tmp_path / "out")
    assert "category.txt: 173 class names, but Something-Something V1 has 174" in said

    diving_lists(tmp_path / "diving")
    (tmp_path / "diving/Diving48_vocab.json").write_text(json.dumps([["a", str(n)] for n in range(20)]))
    said = message(prepare, "diving48", annotations=tmp_path / "diving", videos=None, out=tmp_path / "out")
    assert "Diving48_vocab.json: 20 class names, but Diving48 V2 has 48" in said


def test_an_end_frame_before_the_start_is_an_error(tmp_path):
    diving_lists(tmp_path / "lists")
    path = tmp_path / "lists/Diving48_V2_train.json"
    path.write_text(path.read_text().replace('"end_frame": 9', '"end_frame": -4', 1))
    said = message(prepare, "diving48", annotations=tmp_path / "lists", videos=None, out=tmp_path / "out")
    assert "end_frame is -4; it must be at least 1" in said


def test_links_that_lead_nowhere_and_folders_named_like_videos_are_no_videos(tmp_path):
    v2_lists(tmp_path / "lists", train=(("1", 5), ("2", 9), ("4", 9), ("5", 9)))
    videos(tmp_path / "videos", ["1", "3"], suffix=".webm")
    (tmp_path / "videos/2.webm").symlink_to("nowhere.webm")
    (tmp_path / "videos/4.webm").symlink_to("4.webm")
    (tmp_path / "videos/5.webm").mkdir()
    said = message(prepare, V2, annotations=tmp_path / "lists", videos=tmp_path / "videos", out=tmp_path / "out")
    assert "3 of 5 videos are not in" in said


@pytest.mark.parametrize("dangling", [False, True])
def test_paths_hold_where_the_new_folder_lies_behind_a_link(tmp_path, dangling):
    v2_lists(tmp_path / "lists")
    videos(tmp_path / "videos", ["1", "2", "3"], suffix=".webm")
    far = tmp_path / "a/disk/far/away"
    far.mkdir(parents=True)
    (tmp_path / "data").symlink_to(far)
    out = tmp_path / "data/set"
    if dangling:
        out.symlink_to(far / "elsewhere/set")

    prepared = prepare(V2, annotations=tmp_path / "lists", videos=tmp_path / "videos", out=out)

    assert [Path(clip.path).exists() for clip in read_manifest(prepared.train).clips] == [True, True]


def test_videos_that_cannot_be_read_are_told(tmp_path, capsys):
    v2_lists(tmp_path / "lists")
    videos(tmp_path / "videos", ["1", "3"], suffix=".webm")
    arguments = ["data", "prepare", V2, "--annotations", str(tmp_path / "lists"), "--videos", str(tmp_path / "videos")]
    (tmp_path / "videos/2.webm").write_text("no video")
    assert main([*arguments, "--out", str(tmp_path / "one")]) == 0
    assert "warning: 1 of 2 videos looked into cannot be read; the first: " in capsys.readouterr().err
    (tmp_path / "videos/1.webm").write_text("no video")
    assert main([*arguments, "--out", str(tmp_path / "all")]) == 2
    assert "2 of 2 videos looked into cannot be read" in capsys.readouterr().err


def test_folders_in_use_and_unknown_sets_are_refused(tmp_path):
    v1_lists(tmp_path / "lists")
    write_lines(tmp_path / "out/mine.txt", ["mine"])

    assert "not an empty folder" in message(
        prepare, V1, annotations=tmp_path / "lists", videos=None, out=tmp_path / "out"
    )
    assert "cannot list" in message(
        prepare, V1, annotations=tmp_path / "lists", videos=tmp_path / "none", out=tmp_path / "new"
    )
    with pytest.raises(ConfigError, match="did you mean 'diving48'"):
        prepare("diving", annotations=tmp_path / "lists", videos=None, out=tmp_path / "new")
