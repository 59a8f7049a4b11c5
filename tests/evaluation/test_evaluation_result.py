import csv
import json
import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsn.data import Clip, read_manifest
from lsn.errors import DataError
from lsn.evaluation.metrics import Metrics
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import EvaluationResult, PredictionRow, load_evaluation

PROTOCOL = EvaluationProtocol(
    num_frames=8,
    size=112,
    short_side=128,
    sampling="dense",
    frame_stride=3,
    num_clips=2,
    num_crops=3,
    average="probabilities",
    batch_size=5,
)
METRICS = Metrics(
    num_videos=2,
    top1=0.5,
    top5=1.0,
    mean_class_accuracy=1 / 3,
    calibration_error=0.25,
    loss=1.5,
    classes_without_samples=("c",),
)
ROWS = (
    PredictionRow(Clip("/videos/one.mp4", "a, b"), "a, b", 0.75, 0.75, ("a, b", 'say "c"')),
    PredictionRow(
        Clip("frames/two", 'say "c"', first_frame=3, last_frame=90, frame_pattern="img_{:05d}.jpg", num_frames=100),
        "a, b",
        0.5,
        0.125,
        ("a, b", 'say "c"'),
    ),
    PredictionRow(Clip("three.mkv", "a, b", start_seconds=0.5, end_seconds=2.25), 'say "c"', 1.0, 1e-30, ('say "c"',)),
)
RESULT = EvaluationResult(
    source="lists/val, second half.csv",
    protocol=PROTOCOL,
    labels=("a, b", 'say "c"'),
    metrics=METRICS,
    confusion=torch.tensor([[1, 1], [1, 0]]),
    rows=ROWS,
    unreadable=(("broken.mp4", "broken.mp4: no video"),),
)


def assert_equal(one, other):
    for name in ("source", "protocol", "labels", "metrics", "rows", "unreadable"):
        assert getattr(one, name) == getattr(other, name)
    assert torch.equal(one.confusion, other.confusion)


def test_it_reads_back_what_was_saved(tmp_path):
    RESULT.save(tmp_path / "run")
    assert_equal(load_evaluation(tmp_path / "run"), RESULT)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["evaluation.json", "predictions.csv"]


def test_saving_again_reslots_the_files(tmp_path):
    RESULT.save(tmp_path)
    fewer = replace(RESULT, rows=ROWS[:1], unreadable=())
    fewer.save(tmp_path)
    assert_equal(load_evaluation(tmp_path), fewer)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(text=names | st.text("'=+-@\t\r\na", min_size=1))
def test_any_name_survives(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("names")
    row = PredictionRow(Clip(text, text), text, 0.5, 0.5, (text,))
    named = replace(RESULT, labels=(text, text + "2"), rows=(row,), unreadable=((text, text),))
    named.save(folder)
    assert_equal(load_evaluation(folder), named)


def test_a_file_name_that_is_not_unicode_survives(tmp_path):
    path = os.fsdecode(b"/videos/\xff\xfe.mp4")
    odd = replace(RESULT, rows=(replace(ROWS[0], clip=Clip(path, "a, b")),), unreadable=((path, "broken"),))
    odd.save(tmp_path)
    assert_equal(load_evaluation(tmp_path), odd)


@given(label=st.text("'=+-@\t\r\na", min_size=1))
def test_no_cell_is_a_formula_for_a_spreadsheet(tmp_path_factory, label):
    folder = tmp_path_factory.mktemp("formulas")
    replace(RESULT, rows=(PredictionRow(Clip(label, label), label, 0.5, 1e-5, (label,)),)).save(folder)
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n"))] == []


def test_the_csv_is_one_row_a_video(tmp_path):
    RESULT.save(tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["/videos/one.mp4", "frames/two", "three.mkv"]
    assert [row["correct"] for row in rows] == ["1", "0", "0"]
    assert rows[1]["confidence"] == "0.5" and rows[1]["label_probability"] == "0.125"
    assert json.loads(rows[0]["top5"]) == ["a, b", 'say "c"']


def test_the_csv_is_a_manifest_of_the_same_clips(tmp_path):
    RESULT.save(tmp_path)
    manifest = read_manifest(tmp_path / "predictions.csv", root="/videos", labels=RESULT.labels)
    assert [(clip.label, clip.window) for clip in manifest.clips] == [(row.label, row.clip.window) for row in ROWS]


def test_the_json_tells_the_protocol_in_words_and_keeps_the_order_of_labels(tmp_path):
    RESULT.save(tmp_path)
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(summary) == {"source", "protocol", "labels", "metrics", "confusion", "unreadable"}
    assert summary["source"] == "lists/val, second half.csv"
    assert summary["protocol"]["description"] == PROTOCOL.describe()
    assert summary["labels"] == ["a, b", 'say "c"']
    assert summary["confusion"] == [[1, 1], [1, 0]]
    assert summary["unreadable"] == [{"path": "broken.mp4", "error": "broken.mp4: no video"}]


@pytest.mark.parametrize("name", ["evaluation.json", "predictions.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    RESULT.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: no such file"):
        load_evaluation(tmp_path)


@pytest.mark.parametrize("name", ["evaluation.json", "predictions.csv"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    RESULT.save(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: is no regular file"):
        load_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("evaluation.json", lambda text: text[: len(text) // 2]),
        ("evaluation.json", lambda text: "[]"),
        ("evaluation.json", lambda text: text.replace('"labels"', '"names"')),
        ("evaluation.json", lambda text: text.replace("[[1, 1], [1, 0]]", "[[1, 1]]")),
        ("evaluation.json", lambda text: text.replace('"dense"', '"sparse"')),
        ("evaluation.json", lambda text: text.replace('"top1"', '"top2"')),
        ("evaluation.json", lambda text: text.replace("[[1, 1], [1, 0]]", f"[[1, 1], [1, 1{'0' * 30}]]")),
        ("evaluation.json", lambda text: text.replace("[[1, 1], [1, 0]]", "1" * 5000)),
        ("evaluation.json", lambda text: "[" * 100_000),
        ("evaluation.json", lambda text: text.replace('"labels": [', '"labels": [3, ')),
        ("evaluation.json", lambda text: text.replace('"top1": 0.5', f'"top1": 1{"0" * 400}')),
        ("predictions.csv", lambda text: text.replace("confidence", "surety")),
        ("predictions.csv", lambda text: text.replace("0.125", "much")),
        ("predictions.csv", lambda text: text.replace("90", "9" * 5000)),
        ("predictions.csv", lambda text: text.splitlines()[0][:40]),
        ("predictions.csv", lambda text: ""),
        ("predictions.csv", lambda text: f'{text}"{"x" * 200_000}'),  # a quote that never ends
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, change):
    RESULT.save(tmp_path)
    path = tmp_path / name
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=rf"{name}: not a whole evaluation") as caught:
        load_evaluation(tmp_path)
    assert "\n" not in str(caught.value)
