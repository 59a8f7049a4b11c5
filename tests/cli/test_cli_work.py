"""Training, evaluation, prediction and report, as commands on real files."""

import csv
import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from lsn.cli import main


@dataclass(frozen=True)
class Trained:
    """A run folder and what the command that wrote it printed."""

    folder: Path
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def trained(tiny_run, tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("run") / "mine"
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = main(["train", "demo", *tiny_run, "--out", str(folder)])
    return Trained(folder, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def run(trained) -> Path:
    return trained.folder


def test_train_leaves_a_whole_run_and_says_where(trained):
    run = trained.folder
    assert trained.code == 0
    for name in ("recipe.yaml", "config.json", "model.safetensors", "predictions.csv", "report.html"):
        assert (run / name).is_file(), name
    metrics = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["metrics"]
    (row,) = [line.split() for line in trained.out.splitlines() if line.strip().startswith("10 ")]
    assert row[1] == f"{100 * metrics['top1']:.1f}%"
    assert f"lsn predict {run} VIDEO" in trained.out
    assert "Best after epoch 1 of 1" in trained.out
    assert "epoch 1: validation top-1" in trained.err  # progress goes elsewhere than results


def test_a_run_is_not_trained_over(lsn, run, tiny_run):
    said = lsn("train", "demo", *tiny_run, "--out", run).one_error_line()
    assert str(run) in said
    assert "--resume" in said


def test_the_run_goes_to_a_folder_of_the_recipes_name(lsn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("lsn.cli.commands.train.train_and_report", lambda config, folder, resume: seen.append(folder))
    monkeypatch.setenv("RANK", "1")  # prints nothing, so no evaluation is looked for
    (tmp_path / "my.own.yaml").write_text("{}", encoding="utf-8")
    lsn("train", "fight")
    lsn("train", "my.own.yaml")
    lsn("train", "data.train=videos")
    assert seen == [Path("runs/fight"), Path("runs/my.own"), Path("runs/default")]


def test_evaluate_without_data_repeats_the_validation(lsn, run):
    answer = lsn("evaluate", run, "--workers", 0)
    trained = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["metrics"]
    assert answer.code == 0
    assert f"{100 * trained['top1']:.1f}%" in answer.out
    assert f"{trained['loss']:.3f}" in answer.out


def test_evaluate_writes_what_it_measured(lsn, run, videos, tmp_path):
    out = tmp_path / "out"
    answer = lsn("evaluate", run, videos.train, "--clips", 2, "--crops", 3, "--out", out, "--workers", 0)
    assert answer.code == 0
    protocol = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["protocol"]
    assert (protocol["num_clips"], protocol["num_crops"]) == (2, 3)
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 20
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "20 videos" in answer.out
    assert "data:image/jpeg" in report  # frames of single videos, which need the weights
    assert f"20 videos of {videos.train}" in report
    lsn("report", out, "--weights", run)
    assert (out / "report.html").read_text(encoding="utf-8").count("data:image/jpeg") == report.count("data:image/jpeg")


def test_evaluate_tells_how_soon_the_model_knows(lsn, run, tmp_path):
    out = tmp_path / "out"
    answer = lsn("evaluate", run, "--anytime", "--wanted-top1", 1, "--out", out, "--workers", 0)
    assert (answer.code, "How soon it knows" in answer.out) == (0, True)
    summary = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    top1, stop = summary["anytime"]["top1"], summary["anytime"]["early_exit"]
    assert top1[-1] == summary["metrics"]["top1"]
    rows = [line.split() for line in answer.out.splitlines()]
    for seen, value in enumerate(top1, start=1):
        assert [str(seen), f"{50 * seen}.0%", f"{100 * value:.1f}%"] in rows
    (tested,) = [line for line in answer.out.splitlines() if line.lstrip().startswith("tested: both halves")]
    assert f"{100 * stop['tested']['top1']:.1f}%" in tested
    assert f"{100 * stop['tested']['frames_saved']:.1f}%" in tested
    assert "No threshold reaches it" in answer.out
    assert 'id="soon"' in (out / "report.html").read_text(encoding="utf-8")
    without = lsn("evaluate", run, "--out", out, "--workers", 0)
    assert "How soon" not in without.out
    assert 'id="soon"' not in (out / "report.html").read_text(encoding="utf-8")


def test_evaluate_lists_what_it_left_out(lsn, run, videos, clip, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video", encoding="utf-8")
    path = tmp_path / "some.csv"
    path.write_text(f"path,label\n{clip},{videos.labels[0]}\nbroken.mp4,{videos.labels[1]}\n", encoding="utf-8")
    stopped = lsn("evaluate", run, path, "--workers", 0)
    assert (stopped.code, "broken.mp4" in stopped.err) == (2, True)
    answer = lsn("evaluate", run, path, "--workers", 0, "--on-unreadable", "skip")
    assert answer.code == 0
    assert "left out" in answer.out
    assert "broken.mp4" in answer.out
    assert "9 classes have no video" in answer.out


def test_evaluate_goes_by_the_labels_of_the_weights(lsn, run, videos, clip, tmp_path):
    """A file of labels in another order changes the numbers of a TSN list, never what is right."""
    names = tmp_path / "labels.txt"
    names.write_text("\n".join(reversed(videos.labels)), encoding="utf-8")
    label = clip.parent.name.replace("_", " ")
    frames = tmp_path / "frames"
    listed = tmp_path / "list.txt"
    _write_frames(clip, frames)
    listed.write_text(f"{frames} 8 {list(reversed(videos.labels)).index(label)}\n", encoding="utf-8")
    out = tmp_path / "out"
    answer = lsn("evaluate", run, listed, "--labels", names, "--out", out, "--workers", 0)
    assert answer.code == 0
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["label"] == label


def _write_frames(clip: Path, folder: Path) -> None:
    from PIL import Image

    from lsn.video import open_video

    folder.mkdir()
    with open_video(clip) as video:
        for number, (_, frame_HWC) in enumerate(video, start=1):
            Image.fromarray(frame_HWC).save(folder / f"img_{number:05d}.jpg", quality=95)


def test_predict_shows_the_likeliest_classes_as_bars(lsn, weights, clip):
    answer = lsn("predict", weights, clip, "--top", 3)
    assert answer.code == 0
    bars = [line for line in answer.out.splitlines() if "%" in line]
    shares = [float(line.split("%")[0].split()[-1]) for line in bars]
    assert len(bars) == 3
    assert shares == sorted(shares, reverse=True)
    assert all("█" in line for line in bars)
    assert "decode" in answer.out


def test_one_bad_video_does_not_keep_the_others_from_their_answer(lsn, weights, clip):
    answer = lsn("predict", weights, clip, "none.mp4", clip, "--json")
    assert answer.code == 2
    first, second, third = map(json.loads, answer.out.splitlines())
    assert second["video"] == "none.mp4"
    assert "none.mp4" in second["error"]
    assert first["probabilities"] == third["probabilities"]
    assert sum(first["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert answer.err.count("\n") == 1


@pytest.mark.slow
def test_predict_imports_only_what_it_uses(weights, clip):
    code = (
        "import sys; from lsn.cli import main; code = main(sys.argv[1:]); "
        "print(code, *(name for name in sys.modules if name.split('.')[0] in ('lsn', 'matplotlib', 'cv2')))"
    )
    command = [sys.executable, "-c", code, "predict", str(weights), str(clip), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    parts = {name for name in modules if name.startswith(("lsn.data", "lsn.training", "lsn.report", "lsn.profiling"))}
    assert "lsn.inference.predictor" in modules
    assert not parts | ({"matplotlib", "cv2", "lsn.inference.annotate", "lsn.evaluation.evaluate"} & set(modules))


def test_predict_uses_the_views_of_the_run_unless_told_otherwise(lsn, run, clip, tmp_path):
    def probabilities(folder: Path, *flags: object) -> list[float]:
        return json.loads(lsn("predict", folder, clip, "--json", *flags).out)["probabilities"]

    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["evaluation"] |= {"num_clips": 2, "average": "probabilities"}
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    as_run = probabilities(copy)
    assert as_run == probabilities(run, "--clips", 2, "--average", "probabilities")
    assert as_run != probabilities(run)
    assert probabilities(copy, "--clips", 1) == probabilities(run)


def test_predict_draws_on_the_video(lsn, weights, clip, tmp_path):
    from lsn.video import open_video

    path = tmp_path / "seen.mp4"
    answer = lsn("predict", weights, clip, "--annotate", path)
    assert answer.code == 0
    assert str(path) in answer.out
    with open_video(path) as seen, open_video(clip) as original:
        assert seen.num_frames == original.num_frames


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize("clips", [100_000, 10**30])
def test_more_clips_than_anybody_wants_are_refused(lsn, run, clip, command, clips):
    arguments = [clip] if command == "predict" else []
    said = lsn(command, run, *arguments, "--clips", clips).one_error_line()
    assert f"evaluation.num_clips is {clips}; it must be between 1 and 1000" in said


def test_report_is_written_again(lsn, run):
    (run / "report.html").unlink()
    assert str(run / "report.html") in lsn("report", run).out
    assert (run / "report.html").is_file()


def test_ctrl_c_in_training_says_how_to_go_on(lsn, tmp_path, monkeypatch, tiny_run):
    def stop(config, out, **_):
        out.mkdir()
        (out / "checkpoint.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("lsn.training.train", stop)
    answer = lsn("train", "demo", *tiny_run, "--out", tmp_path / "run")
    assert answer.code == 130
    assert "--resume" in answer.err
    assert answer.err.splitlines()[-1] == "lsn: interrupted"
