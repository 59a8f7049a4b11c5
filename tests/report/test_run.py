import json
from collections.abc import Callable
from pathlib import Path

import pytest
from report_helpers import evaluation, prediction

from lsn.errors import LSNError
from lsn.report.run import read_run

ROWS = [prediction("a", "a", 0.9, path="a/1.mp4"), prediction("b", "a", 0.8, path="b/1.mp4")]


@pytest.fixture
def folder(make_run: Callable[..., Path]) -> Path:
    lines = [{"kind": "unreadable", "epoch": 0.1, "step": 1, "path": "t.mp4", "error": "cut off"}]
    folder = make_run(evaluation(["a", "b"], ROWS, [("v.mp4", "empty")]), lines=lines)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_whole_run_is_read_without_remarks(folder: Path) -> None:
    run = read_run(folder, folder)
    assert run.remarks == []
    assert (len(run.train), len(run.val)) == (20, 2)
    assert run.unreadable == [("training", "t.mp4", "cut off"), ("evaluation", "v.mp4", "empty")]
    assert run.evaluation is not None and [row.correct for row in run.evaluation.rows] == [True, False]
    assert run.model_name == "lsn_resnet10t"


FILES = ["recipe.yaml", "evaluation.json", "predictions.csv", "config.json"]


@pytest.mark.parametrize("missing", [*FILES, "metrics.jsonl"])
def test_what_is_missing_is_said(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    (remark,) = read_run(folder, folder).remarks
    assert missing in remark


@pytest.mark.parametrize("broken", FILES)
def test_what_is_broken_is_said(folder: Path, broken: str) -> None:
    (folder / broken).write_bytes(b"[1, \xff\n2")
    (remark,) = read_run(folder, folder).remarks
    assert broken in remark


def test_a_test_of_weights_has_the_evaluation_from_one_folder_and_all_else_from_the_other(
    folder: Path, tmp_path: Path
) -> None:
    test = tmp_path / "test"
    evaluation(["a", "b"], ROWS[:1], [("w.mp4", "cut off")]).save(test)
    alone, run = read_run(folder, folder), read_run(test, folder)
    assert run.remarks == []
    assert (run.config, run.recipe, run.train, run.val) == (alone.config, alone.recipe, alone.train, alone.val)
    assert run.unreadable == [("training", "t.mp4", "cut off"), ("evaluation", "w.mp4", "cut off")]
    assert run.evaluation is not None and len(run.evaluation.rows) == 1


def test_half_a_line_of_metrics_is_left_out(folder: Path) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "train"})[:9])
    run = read_run(folder, folder)
    assert len(run.train) == 20
    assert run.remarks == ["metrics.jsonl: 1 of 24 lines are not readable and left out."]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LSNError, match=r"nowhere: no such run folder"):
        read_run(tmp_path / "nowhere", tmp_path)
    with pytest.raises(LSNError, match=r"nowhere: no such run folder"):
        read_run(tmp_path, tmp_path / "nowhere")
    with pytest.raises(LSNError, match=r"nothing of a run is in it; expected recipe.yaml"):
        read_run(tmp_path, tmp_path)
