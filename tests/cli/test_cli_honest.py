"""What tells a user how far a figure holds, before and after a training: --overfit, lsn probe, --folds."""

import csv
import json
import subprocess
import sys
from collections import Counter

import pytest

from lsn.cli import main


@pytest.fixture
def grouped(videos, tmp_path):
    """The synthetic videos of both splits in one manifest, in five scenes."""
    rows = []
    for manifest in (videos.train, videos.val):
        for number, row in enumerate(csv.DictReader(manifest.open())):
            rows.append(f"{manifest.parent / row['path']},{row['label']},s{(number // 10 + number) % 5}")
    path = tmp_path / "all.csv"
    path.write_text("\n".join(["path,label,scene", *rows]) + "\n")
    return path


def small(tiny_run, *changed):
    """The overrides of a tiny run but for those of these keys."""
    return [override for override in tiny_run if override.partition("=")[0] not in changed]


@pytest.mark.slow
def test_folds(lsn, grouped, tiny_run, tmp_path):
    overrides = small(tiny_run, "data.train", "data.val")
    command = ["train", "demo", *overrides, f"data.train={grouped}", "data.val=null", "data.group_column=scene"]
    command += ["training.keep=last", "--folds", "2", "--seeds", "2", "--out", tmp_path / "cv"]
    answer = lsn(*command)
    assert answer.code == 0
    clips = list(csv.DictReader(grouped.open()))
    for seed in (0, 1):
        tested = []
        for fold in range(2):
            folder = tmp_path / f"cv/seed{seed}/fold{fold}"
            tested += [row["path"] for row in csv.DictReader((folder / "predictions.csv").open())]
            assert (folder / "report.html").is_file()
        assert sorted(tested) == sorted(row["path"] for row in clips)
    rows = [line.split() for line in answer.out.splitlines() if line.strip()[:2] in ("0 ", "1 ")]
    assert [len(row) for row in rows] == [4, 4]
    assert "95% interval" in answer.out and "by bootstrap over 5 groups" in answer.out
    assert "Calibration error" in answer.out and "risk-coverage" in answer.out
    report = (tmp_path / "cv/report.html").read_text(encoding="utf-8")
    for expected in ("2 folds by scene", 'href="seed1/fold1/report.html"', "s4", "at the last epoch"):
        assert expected in report

    before = (tmp_path / "cv/seed1/fold1/model.safetensors").stat().st_mtime_ns
    again = lsn(*command)
    assert again.code == 0 and again.out.count("done already") == 4
    assert (tmp_path / "cv/seed1/fold1/model.safetensors").stat().st_mtime_ns == before
    assert "holds other clips" in lsn(*command[:-5], "3", *command[-4:]).one_error_line()


def test_what_makes_no_sense_with_or_without_folds(lsn, grouped, tmp_path):
    assert "--seeds is for --folds" in lsn("train", f"data.train={grouped}", "--seeds", "3").one_error_line()
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").touch()
    line = lsn("train", f"data.train={grouped}", "--folds", "3", "--out", run).one_error_line()
    assert f"{run}: holds a single run" in line


@pytest.mark.slow
def test_folds_side_by_side(grouped, tiny_run, tmp_path):
    """Two processes with one command share the folds, and both report the whole."""
    overrides = [*small(tiny_run, "data.train", "data.val"), f"data.train={grouped}", "data.val=null"]
    command = [sys.executable, "-m", "lsn", "train", "demo", *overrides, "data.group_column=scene"]
    command += ["training.keep=last", "--folds", "3", "--out", str(tmp_path / "cv")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    trained = Counter(line.split(",")[0] for out, _ in outs for line in out.splitlines() if ", in " in line)
    assert sum(out.count("Top-1") for out, _ in outs) >= 2
    assert set(trained) == {f"fold {number} of 3" for number in range(1, 4)}
    best = [
        json.loads((tmp_path / f"cv/seed0/fold{n}/evaluation.json").read_text())["metrics"]["num_videos"]
        for n in range(3)
    ]
    assert sum(best) == len(list(csv.DictReader(grouped.open())))


def test_a_test_set_is_tested_at_the_end(lsn, videos, tiny_run, tmp_path):
    """The clips that are kept aside choose nothing, and are evaluated once."""
    overrides = [*small(tiny_run, "data.val"), "data.val=null", "data.val_fraction=0.5", f"data.test={videos.val}"]
    answer = lsn("train", "demo", *overrides, "--out", tmp_path / "run")
    assert answer.code == 0
    tested = json.loads((tmp_path / "run/test/evaluation.json").read_text(encoding="utf-8"))
    assert tested["metrics"]["num_videos"] == len(list(csv.DictReader(videos.val.open())))
    assert f"which chose nothing: {100 * tested['metrics']['top1']:.1f}%" in answer.out
    assert (tmp_path / "run/test/report.html").is_file()

    line = lsn("train", "demo", *overrides, f"data.test={videos.train}", "--out", tmp_path / "leak").one_error_line()
    assert "of test also in train" in line or "of test also in val" in line


@pytest.mark.slow
def test_probe(lsn, videos, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("lsn.training.linear_probe.MAX_ITERATIONS", 50)
    overrides = small(tiny_run, "data.train")
    answer = lsn("probe", videos.train, *overrides, "model.pretrained=false", "--out", tmp_path / "probe")
    assert answer.code == 0
    assert "A linear classifier on 96 features of the frozen CNN" in answer.out
    for name in ("model.safetensors", "evaluation.json", "report.html"):
        assert (tmp_path / "probe" / name).is_file()
    clip = next(csv.DictReader(videos.val.open()))["path"]
    assert lsn("predict", tmp_path / "probe", videos.val.parent / clip).code == 0


def test_probe_in_folds(lsn, grouped, tiny_run, tmp_path):
    overrides = small(tiny_run, "data.train", "data.val")
    command = ["probe", grouped, *overrides, "model.pretrained=false", "data.group_column=scene", "--folds", "2"]
    answer = lsn(*command, "--out", tmp_path / "probes")
    assert answer.code == 0
    assert "by bootstrap over 5 groups" in answer.out
    tested = [
        row["path"]
        for fold in range(2)
        for row in csv.DictReader((tmp_path / f"probes/seed0/fold{fold}/predictions.csv").open())
    ]
    assert sorted(tested) == sorted(row["path"] for row in csv.DictReader(grouped.open()))
    again = lsn(*command, "--out", tmp_path / "probes")
    assert again.code == 0 and again.out.count("done already") == 2


@pytest.mark.slow
def test_overfit(lsn, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = [*small(tiny_run, "model.name"), "model.name=tsn_resnet10t", "optim.learning_rate=0.002"]
    answer = lsn("train", "demo", *settings, "--overfit", "4")
    assert answer.code == 0
    assert "These settings fit 4 clips: all are right." in answer.out
    assert not list(tmp_path.iterdir())

    monkeypatch.setattr("lsn.training.overfit.MAX_STEPS", 5)
    answer = lsn("train", "demo", *settings, "optim.learning_rate=1e-9", "--overfit", "4")
    assert answer.code == 2
    assert "these settings do not fit 4 clips" in answer.err and "raise or lower optim.learning_rate" in answer.err
    assert main(["train", "demo", *settings, "--overfit", "4", "--resume"]) == 2
