"""Small copies of the official layouts, from annotation files to the table, by the commands that a reader types."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from lsn.cli.app import main
from lsn.data.synthetic import write_synthetic

REAL = Path(__file__).parents[3] / "shared/data/egogestar"
V1, V2 = "something-something-v1", "something-something-v2"
NAMES = [f"Doing {number:03d} with [something]" for number in range(174)]
PLAIN = [name.replace("[", "").replace("]", "") for name in NAMES]
NUM_TRAIN, NUM_VAL = 6, 3
SMALL = [
    "training.epochs=1",
    "training.min_steps_per_epoch=1",
    "training.grad_accum_steps=1",
    "training.batch_size=3",
    "training.precision=float32",
]
SMALL += ["optim.step_epochs=[1]", "model.pretrained=false", "input.size=32", "input.short_side=32"]
SMALL += ["data.num_workers=0", "model.num_frames=4"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Nine videos: real ones if they are beside the project, else synthetic ones."""
    if REAL.is_dir():
        rows = list(csv.DictReader((REAL / "train.csv").open(encoding="utf-8")))
        return [REAL / row["path"] for row in rows][: NUM_TRAIN + NUM_VAL]
    folder = tmp_path_factory.mktemp("clips")
    write_synthetic(folder / "set", kind="gestures", num_train=10, num_val=10, size=32, num_frames=20)
    return sorted((folder / "set").rglob("*.mp4"))[: NUM_TRAIN + NUM_VAL]


@pytest.fixture
def desk(tmp_path, monkeypatch, clips):
    """The working folder, with the videos under numbers as names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "labels").mkdir()
    for number, clip in enumerate(clips):
        shutil.copy(clip, tmp_path / f"videos/{number}.mp4")
    return tmp_path


def splits():
    numbers = [(str(number), number % 3) for number in range(NUM_TRAIN + NUM_VAL)]
    return {"train": numbers[:NUM_TRAIN], "val": numbers[NUM_TRAIN:]}


def write_json(path, content):
    Path(path).write_text(json.dumps(content, indent=1), encoding="utf-8")


def run(*arguments):
    assert main([str(argument) for argument in arguments]) == 0


def check_table(desk, table, rows):
    found = json.loads((desk / f"runs/tables/{table}/table.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["protocol"], row["num_videos"]) for row in found] == rows
    for row in found:
        folder = desk / f"runs/tables/{table}/{row['name']}/seed0"
        with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
            right = [int(line["correct"]) for line in csv.DictReader(file)]
        assert row["scores"] == [round(100 * sum(right) / NUM_VAL, 2)]


@pytest.mark.slow
def test_something_something_v1_from_frames(desk):
    (desk / f"labels/{V1}-labels.csv").write_text("\n".join(reversed(PLAIN)), encoding="utf-8")
    for split, name in (("train", "train"), ("val", "validation")):
        rows = [f"{video};{PLAIN[label]}" for video, label in splits()[split]]
        (desk / f"labels/{V1}-{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    table = "\n".join(["path,label", *(f"videos/{n}.mp4,x" for n in range(NUM_TRAIN + NUM_VAL))])
    (desk / "all.csv").write_text(table, encoding="utf-8")

    pattern = "{:05d}.jpg"
    run("data", "extract-frames", "all.csv", "--out", "frames", "--short-side", 64, "--pattern", pattern)
    run("data", "prepare", V1, "--annotations", "labels", "--videos", "frames/frames", "--out", f"data/{V1}")
    run("data", "check", f"data/{V1}/train.csv", f"data/{V1}/val.csv", "--labels", f"data/{V1}/labels.txt", "--decode")
    run("reproduce", V1, "lsn_ss", *SMALL)

    check_table(desk, V1, [("lsn_ss", "4x2x1", NUM_VAL)])


@pytest.mark.slow
def test_something_something_v2_from_videos_and_their_frames(desk, capsys):
    write_json(f"labels/{V2}-labels.json", {name: str(number) for number, name in enumerate(PLAIN)})
    for split, name in (("train", "train"), ("val", "validation")):
        rows = [{"id": v, "label": "free", "template": NAMES[n], "placeholders": []} for v, n in splits()[split]]
        write_json(f"labels/{V2}-{name}.json", rows)

    run("data", "prepare", V2, "--annotations", "labels", "--videos", "videos", "--out", f"data/{V2}")
    said = capsys.readouterr().out
    assert f"{NUM_TRAIN} clips to train on, {NUM_VAL} to validate on, 174 classes" in said
    assert "Extracting frames" in said
    manifests = [f"data/{V2}/{split}.csv" for split in ("train", "val")]
    run(
        "data", "extract-frames", *manifests, "--out", "frames", "--labels", f"data/{V2}/labels.txt", "--short-side", 64
    )
    run("reproduce", V2, "lsn_ss", *SMALL)
    run("reproduce", V2, "lsn_ss", *SMALL, "data.train=frames/train.csv", "data.val=frames/val.csv", "--out", "other")

    check_table(desk, V2, [("lsn_ss", "4x2x1", NUM_VAL)])
    assert json.loads(Path(f"other/{V2}/table.json").read_text())[0]["num_videos"] == NUM_VAL


@pytest.mark.slow
def test_diving48_from_videos(desk, capsys):
    write_json("labels/Diving48_vocab.json", [["Back", f"{number}som", "NoTwis", "PIKE"] for number in range(48)])
    for split, name in (("train", "train"), ("val", "test")):
        rows = [{"vid_name": v, "label": n, "start_frame": 0, "end_frame": 60} for v, n in splits()[split]]
        write_json(f"labels/Diving48_V2_{name}.json", rows)

    run("data", "prepare", "diving48", "--annotations", "labels", "--videos", "videos", "--out", "data/diving48")
    run("reproduce", "diving48", "tsn", "lsn_ss", *SMALL)

    check_table(desk, "diving48", [("tsn", "4x2x1", NUM_VAL), ("lsn_ss", "4x2x1", NUM_VAL)])
    assert "82.3" in capsys.readouterr().out
    run("evaluate", "runs/tables/diving48/lsn_ss/seed0", "--clips", 2, "--workers", 0)
