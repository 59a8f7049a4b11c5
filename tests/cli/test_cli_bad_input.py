"""What users really hand in: each gets one line that names it and the remedy, and exit code 2."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def copied(weights, tmp_path) -> Path:
    """A weights folder to be damaged."""
    return Path(shutil.copytree(weights, tmp_path / "weights"))


def manifest(folder: Path, text: str) -> Path:
    path = folder / "train.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_file_named_mp4(lsn, weights, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("this is not a video\n" * 100, encoding="utf-8")
    said = lsn("predict", weights, path).one_error_line()
    assert str(path) in said
    assert "not a video file" in said
    assert "check what is in it, or fetch it again" in said


def test_an_empty_file(lsn, weights, tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    said = lsn("predict", weights, path).one_error_line()
    assert str(path) in said
    assert "empty" in said.replace(str(path), "")
    assert "fetch or write it again" in said


def test_a_truncated_file(lsn, weights, clip, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[:-500])
    said = lsn("predict", weights, path).one_error_line()
    assert str(path) in said
    assert "fetch or write it again" in said


def test_a_missing_video(lsn, weights):
    said = lsn("predict", weights, "videos/none.mp4").one_error_line()
    assert "videos/none.mp4" in said
    assert f"no such file; relative paths start from {Path.cwd()}" in said


def test_missing_weights(lsn, clip):
    said = lsn("predict", "runs/none", clip).one_error_line()
    assert "runs/none" in said
    assert "lsn train" in said


@pytest.mark.parametrize("command", ["data check", "train", "evaluate"])
def test_a_manifest_with_a_wrong_column(lsn, weights, tmp_path, command):
    path = manifest(tmp_path, "path,lable\na.mp4,jump\n")
    arguments = {
        "data check": ["data", "check", path],
        "train": ["train", "demo", f"data.train={path}", "data.val=null", "--out", tmp_path / "run"],
        "evaluate": ["evaluate", weights, path],
    }[command]
    said = lsn(*arguments).one_error_line()
    assert str(path) in said
    assert "lable" in said
    assert "label" in said.replace("lable", "")


def test_weights_of_another_version(lsn, copied, clip):
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    (copied / "config.json").write_text(json.dumps(config | {"format_version": 99}), encoding="utf-8")
    said = lsn("predict", copied, clip).one_error_line()
    assert str(copied) in said
    assert "version 99" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pretrained": True}, "unknown key 'pretrained'"),
        ({"num_frames": 10**9}, "num_frames is 1000000000; it must be at least 1 and at most 4096"),
        ({"name": None}, "name: expected str, got None"),
    ],
)
def test_weights_that_ask_for_what_no_weights_may(lsn, copied, clip, videos, changes, said):
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    (copied / "config.json").write_text(json.dumps(config | {"model": config["model"] | changes}), encoding="utf-8")
    for command in (("predict", copied, clip), ("cost", copied), ("evaluate", copied, videos.val)):
        line = lsn(*command).one_error_line()
        assert str(copied / "config.json") in line
        assert said in line


def test_weights_with_a_flipped_bit(lsn, copied, clip):
    path = copied / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert f"{path}: its content is not what was written" in lsn("predict", copied, clip).one_error_line()


@pytest.mark.parametrize("device", ["meta", "cpu:99", "xla", " "])
def test_a_device_that_cannot_compute(lsn, weights, clip, videos, device):
    for command in (("predict", weights, clip), ("evaluate", weights, videos.val), ("stream", weights, clip)):
        answer = lsn(*command, "--device", device)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert f"device '{device}' cannot be used" in answer.err


@pytest.mark.parametrize(
    ("flag", "value"), [("--num-frames", 0), ("--num-frames", -3), ("--size", 0), ("--num-classes", 0)]
)
def test_nothing_to_count(lsn, flag, value):
    said = lsn("cost", "lsn_resnet10t", flag, value).one_error_line()
    assert f"{flag} is {value}" in said
    assert "at least 1" in said


def test_a_recipe_of_no_frames(lsn):
    assert "model.num_frames is 0; it must be at least 1" in lsn("train", "demo", "model.num_frames=0").one_error_line()


def test_a_cnn_that_timm_does_not_know(lsn):
    assert "did you mean 'resnet50'?" in lsn("cost", "lsn_resnt50").one_error_line()


def test_a_name_of_no_family(lsn):
    said = lsn("cost", "resnet50").one_error_line()
    assert "'resnet50'" in said
    assert "lsn_" in said


def test_a_filter_that_no_model_fits(lsn):
    assert "'resnext'" in lsn("models", "resnext").one_error_line()


def test_a_pickle_instead_of_weights_is_not_even_opened(lsn, clip, tmp_path):
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    path.write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    assert str(path) in lsn("predict", path, clip).one_error_line()
    assert not mark.exists()


def test_a_pickle_named_safetensors_is_refused(lsn, copied, clip, tmp_path):
    mark = tmp_path / "mark"
    (copied / "model.safetensors").write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    assert str(copied) in lsn("predict", copied, clip).one_error_line()
    assert not mark.exists()


def test_a_checkpoint_with_code_in_it_is_refused(lsn, videos, tiny_run, tmp_path):
    run, mark = tmp_path / "run", tmp_path / "mark"
    assert lsn("train", "demo", *tiny_run, "training.keep_checkpoints=1", "--out", run).code == 0
    (run / "checkpoint.pt").write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    answer = lsn("train", "demo", *tiny_run, "--out", run, "--resume")
    assert str(run / "checkpoint.pt") in answer.one_error_line()
    assert not mark.exists()


@pytest.mark.parametrize("flag", ["--root", "--labels"])
def test_evaluate_does_not_pass_over_flags_of_a_manifest_that_is_not_given(lsn, weights, flag):
    assert flag in lsn("evaluate", weights, flag, "somewhere").one_error_line()


def test_a_wanted_accuracy_is_for_stopping_early(lsn, weights, videos):
    said = lsn("evaluate", weights, videos.val, "--wanted-top1", 0.9).one_error_line()
    assert "--wanted-top1" in said
    assert "--anytime" in said


@pytest.mark.parametrize(
    ("flags", "way_out"),
    [
        (("--wanted-top1", 95), "a wanted top-1 of 95; it must be between 0 and 1, such as 0.95"),
        (("--wanted-top1", -1), "between 0 and 1"),
        (("--clips", 2), "2 clips per video; use one (--clips 1)"),
    ],
)
def test_evaluate_does_not_measure_how_soon_in_ways_that_mean_nothing(lsn, weights, videos, flags, way_out):
    assert way_out in lsn("evaluate", weights, videos.val, "--anytime", *flags).one_error_line()


def test_a_model_that_looks_ahead_has_no_answers_on_the_way(lsn, videos, tmp_path):
    from lsn import create_model
    from lsn.config import InputConfig
    from lsn.models.weights import save_weights

    model = create_model("tsm_resnet10t", num_classes=len(videos.labels), num_frames=2)
    save_weights(tmp_path, model, labels=videos.labels, input=InputConfig(size=32, short_side=32), metrics={})
    said = lsn("evaluate", tmp_path, videos.val, "--anytime").one_error_line()
    assert "bidirectional shift" in said
    assert "model.shift=causal" in said


def test_weights_without_a_recipe_do_not_know_their_data(lsn, weights):
    said = lsn("evaluate", weights).one_error_line()
    assert str(weights) in said
    assert "recipe.yaml" in said


def test_several_videos_for_one_annotated_file(lsn, weights, clip):
    assert "got 2 videos" in lsn("predict", weights, clip, clip, "--annotate", "seen.mp4").one_error_line()


def test_a_video_is_not_overwritten_by_its_annotation(lsn, weights, clip, tmp_path):
    path = Path(shutil.copy(clip, tmp_path / "clip.mp4"))
    before = path.read_bytes()
    assert "would be written over" in lsn("predict", weights, path, "--annotate", path).one_error_line()
    assert path.read_bytes() == before


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_debug_shows_where_a_video_failed(lsn, weights, tmp_path, flags):
    path = tmp_path / "notes.mp4"
    path.write_text("this is not a video", encoding="utf-8")
    plain, debug = lsn("predict", weights, path, *flags), lsn("predict", weights, path, *flags, "--debug")
    assert debug.code == 2
    assert "Traceback (most recent call last)" in debug.err
    assert debug.err.endswith(plain.err)
    assert debug.out == plain.out


@pytest.mark.slow
def test_a_real_process_says_nothing_more_than_the_line(weights, tmp_path):
    """The libraries in C, which the tests above cannot hear, write to standard error themselves."""
    path = tmp_path / "notes.mp4"
    path.write_text("this is not a video", encoding="utf-8")
    command = [sys.executable, "-m", "lsn", "predict", str(weights), str(path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stdout, process.stderr.count("\n")) == (2, "", 1)
    assert str(path) in process.stderr
