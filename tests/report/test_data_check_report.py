"""The report of `lsn data check`, and the command that writes it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from report_helpers import PROTOCOL

from lsn.cli import main
from lsn.data import read_manifest
from lsn.evaluation.result import result_of_scores
from lsn.video import write_video


def picture(label: str, number: int) -> np.ndarray:
    """Frames of six columns of grey, other ones for each number."""
    levels = np.random.default_rng(ord(label) + 100 * number).integers(0, 256, (6, 6))
    return np.repeat(np.kron(levels, np.ones((16, 16)))[None, :, :, None], 3, axis=3).astype(np.uint8).repeat(6, axis=0)


@pytest.fixture
def splits(tmp_path):
    """Two splits of two classes: in the second a clip is a copy from the first, one cut off, one labelled wrongly."""
    for split, numbers in (("train", range(4)), ("val", range(4, 7))):
        rows = ["path,label"]
        for number in numbers:
            for label in "ab":
                write_video(tmp_path / split / f"{label}{number}.mp4", picture(label, number), fps=10)
                rows.append(f"{split}/{label}{number}.mp4,{label}")
        (tmp_path / f"{split}.csv").write_text("\n".join(rows) + "\n")
    shutil.copy(tmp_path / "train/a1.mp4", tmp_path / "val/a4.mp4")
    cut = tmp_path / "val/b5.mp4"
    cut.write_bytes(cut.read_bytes()[:-800])
    text = (tmp_path / "val.csv").read_text()
    (tmp_path / "val.csv").write_text(text.replace("val/a6.mp4,a", "val/a6.mp4,b"))
    clips = read_manifest(tmp_path / "val.csv").clips
    scores_NK = torch.tensor([[2.0, 0.0] if "/a" in clip.path else [0.0, 2.0] for clip in clips])
    result_of_scores(clips, scores_NK, source="val.csv", protocol=PROTOCOL, labels=("a", "b")).save(tmp_path / "seen")
    return tmp_path


def check(folder, *options, names=("train", "val")):
    return main(["data", "check", *(str(folder / f"{name}.csv") for name in names), *map(str, options)])


def test_the_report_says_all_that_the_command_says_with_pictures(splits, capsys):
    out = splits / "checked"
    assert check(splits, "--decode", "--doubts", splits / "seen", "--out", out) == 2
    said = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    assert "b5.mp4" in said and f"a4.mp4lookslike{splits}/train/a1.mp4" in said
    assert "a6.mp4is'b'(12%),butthemodelsays'a'(88%);lookatit" in said
    assert f"Report:{out}/check.html" in said

    page = (out / "check.html").read_text()
    assert "train.csv and val.csv" in page and "14 clips" in page
    for title in ("Clips that cannot be decoded", "Clips that look the same", "Labels that the model doubts"):
        assert title in page
    assert page.count('src="data:image/jpeg;base64,') == 3 * 6  # a pair and a doubt, all their frames
    for name in ("b5.mp4", "a4.mp4", "a6.mp4"):
        assert name in page
    assert len((out / "decoded.jsonl").read_text().splitlines()) == 13


def test_nothing_wrong_and_nothing_asked(splits, capsys):
    (splits / "good.csv").write_text("path,label\ntrain/a0.mp4,a\ntrain/b0.mp4,b\n")
    assert check(splits, "--out", splits / "checked", names=["good"]) == 0
    assert "No problems." in capsys.readouterr().out
    page = (splits / "checked/check.html").read_text()
    assert "No problems." in page and "not decoded: --decode" in page and "no predictions: --doubts" in page
    assert check(splits, "--decode", "--out", splits / "checked", names=["good"]) == 0
    assert "None: every clip was decoded to its last frame." in (splits / "checked/check.html").read_text()


def test_predictions_that_cannot_be_used(splits, capsys):
    assert check(splits, "--doubts", splits / "nowhere") == 2
    assert "nowhere: no evaluation; give a run, an evaluation or a cross-validation" in " ".join(
        capsys.readouterr().err.split()
    )
    (splits / "other.csv").write_text("path,label\ntrain/a0.mp4,a\ntrain/b0.mp4,b\n")
    assert check(splits, "--doubts", splits / "seen", names=["other"]) == 2
    assert "its predictions are of other clips than" in " ".join(capsys.readouterr().err.split())
    (splits / "events.csv").write_text("path,label,start_seconds,end_seconds\ntrain/a0.mp4,a,0,0.2\n")
    assert main(["data", "check", str(splits / "events.csv"), "--timelines", "--out", str(splits / "x")]) == 2
    assert "--decode, --doubts and --out are for clips" in " ".join(capsys.readouterr().err.split())


def test_predictions_of_folds(splits, capsys):
    result = read_manifest(splits / "val.csv")
    assert len(result) == 6
    from lsn.evaluation.result import load_evaluation

    whole = load_evaluation(splits / "seen")
    assert whole.scores_NK is not None
    for fold in range(2):
        part = range(fold, 6, 2)
        rows, scores_NK = [whole.rows[n].clip for n in part], whole.scores_NK[list(part)]
        one = result_of_scores(rows, scores_NK, source="f", protocol=whole.protocol, labels=whole.labels)
        one.save(splits / f"folds/seed0/fold{fold}" / ("test" if fold else ""))
    replace(whole, rows=whole.rows[:1], scores_NK=whole.scores_NK[:1]).save(splits / "folds/seed0/fold1")
    check(splits, "--doubts", splits / "folds")
    assert "a6.mp4is'b'" in "".join(capsys.readouterr().out.split())
