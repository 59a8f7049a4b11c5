"""What a command writes is never what it reads, and what it prints never commands the terminal."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.text import Text

from lsn.cli.ui.console import columns, plain_console, visible
from lsn.config import FrameRates, InputConfig
from lsn.models.factory import create_model
from lsn.models.weights import save_weights
from lsn.video import write_video


@pytest.fixture
def mine(tmp_path, clip, weights):
    """A folder with a video, links to it, and weights with the validation of their training."""
    shutil.copy(clip, tmp_path / "clip.mp4")
    (tmp_path / "soft.mp4").symlink_to(tmp_path / "clip.mp4")
    (tmp_path / "hard.mp4").hardlink_to(tmp_path / "clip.mp4")
    shutil.copytree(weights, tmp_path / "run")
    return tmp_path


@pytest.mark.parametrize("name", ["clip.mp4", "soft.mp4", "hard.mp4"])
def test_predict_does_not_write_over_its_video(lsn, mine, name):
    before = (mine / "clip.mp4").read_bytes()
    line = lsn("predict", mine / "run", mine / "clip.mp4", "--annotate", mine / name).one_error_line()
    assert f"{mine / name}: would be written over" in line
    assert (mine / "clip.mp4").read_bytes() == before


def test_predict_does_not_write_over_its_weights(lsn, mine):
    (mine / "run/model.safetensors").rename(mine / "weights.mp4")
    (mine / "run/model.safetensors").symlink_to(mine / "weights.mp4")
    line = lsn("predict", mine / "run", mine / "clip.mp4", "--annotate", mine / "weights.mp4").one_error_line()
    assert "model.safetensors, which is read" in line


def test_timeline_does_not_write_over_its_video(lsn, mine):
    (mine / "out").mkdir()
    shutil.move(mine / "clip.mp4", mine / "out/annotated.mp4")
    line = lsn("timeline", mine / "run", mine / "out/annotated.mp4", "--out", mine / "out").one_error_line()
    assert "annotated.mp4: would be written over" in line


def test_a_contact_sheet_does_not_replace_a_frame(lsn, tmp_path):
    from PIL import Image

    for label in ("a", "b"):
        (tmp_path / label / "clip").mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / label / "clip/1.png")
    line = lsn("data", "show", tmp_path, "--sheet", tmp_path / "a/clip/1.png").one_error_line()
    assert "1.png: would be written over" in line
    for _ in range(2):  # beside the clips it is no input
        assert lsn("data", "show", tmp_path, "--sheet", tmp_path / "sheet.png").code == 0


def test_an_evaluation_does_not_replace_the_validation_of_the_weights(lsn, mine, videos):
    validation = {"evaluation.json": '{"of": "training"}', "predictions.csv": "of training\n"}
    for name, text in validation.items():
        (mine / "run" / name).write_text(text)
    line = lsn("evaluate", mine / "run", videos.val, "--out", mine / "run", "--workers", 0).one_error_line()
    assert "holds weights and their own validation" in line and "choose another --out" in line
    assert {name: (mine / "run" / name).read_text() for name in validation} == validation


def test_an_evaluation_does_not_replace_its_manifest(lsn, mine, videos):
    text = videos.val.read_text()
    (mine / "predictions.csv").write_text(text)
    arguments = ("--root", videos.val.parent, "--out", mine, "--workers", 0)
    line = lsn("evaluate", mine / "run", mine / "predictions.csv", *arguments).one_error_line()
    assert "predictions.csv: would be written over" in line
    assert (mine / "predictions.csv").read_text() == text


def test_a_training_does_not_replace_its_manifest(lsn, mine, videos, tiny_run):
    text = videos.train.read_text()
    (mine / "predictions.csv").write_text(text)
    settings = (*tiny_run, f"data.train={mine / 'predictions.csv'}", f"data.root={videos.train.parent}")
    line = lsn("train", "demo", *settings, "--out", mine).one_error_line()
    assert "predictions.csv: would be written over" in line
    assert (mine / "predictions.csv").read_text() == text


@pytest.mark.parametrize("option", ["--record", "--save-state", "--events"])
@pytest.mark.parametrize("name", ["clip.mp4", "soft.mp4", "hard.mp4", "run/model.safetensors"])
def test_stream_does_not_write_over_what_it_reads(lsn, mine, option, name):
    before = (mine / name).read_bytes()
    line = lsn("stream", mine / "run", mine / "clip.mp4", "--fps", 8, option, mine / name).one_error_line()
    assert "would be written over" in line
    assert (mine / name).read_bytes() == before


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"


def test_hostile_text_is_shown_and_not_obeyed(capsys):
    console = plain_console(force_terminal=True, width=200)
    table = columns(HOSTILE)
    table.add_row(Text(HOSTILE, style="red"))
    console.print(table)
    console.print(HOSTILE)
    out = capsys.readouterr().out
    assert out.count("␛]0;owned␛[2J\ufffd31m") == 3  # rich leaves the bell out by itself
    assert out.endswith("\ufffdgnp\n")
    assert not set("\x07\x9b\u202e") & set(out)
    assert "\x1b]" not in out and "\x1b[2J" not in out
    assert visible("plain text, ümläut,\ttab\nand line 行") == "plain text, ümläut,\ttab\nand line 行"


def test_labels_and_names_of_files_do_not_command_the_terminal(lsn, tmp_path, clip, videos):
    labels = ("one" + HOSTILE, "two")
    model = create_model("lsn_resnet10t", num_classes=2, num_frames=2)
    save_weights(
        tmp_path / "run",
        model,
        labels=labels,
        input=InputConfig(size=32, short_side=32),
        metrics={},
        frame_rates=FrameRates(5, 10, 20),
    )
    video = tmp_path / f"clip{HOSTILE}.mp4"
    shutil.copy(clip, video)
    manifest = tmp_path / "m.csv"
    manifest.write_text(f'path,label\n"{video.name}","{labels[0]}"\n{clip},two\n', encoding="utf-8", newline="")
    for command in (
        ("predict", tmp_path / "run", video),
        ("predict", tmp_path / "run", tmp_path / f"no{HOSTILE}.mp4"),
        ("stream", tmp_path / "run", video),
        ("data", "check", manifest, videos.val),
        ("data", "show", manifest),
        ("evaluate", tmp_path / "run", video.with_suffix(".csv"), "--workers", 0),
    ):
        answer = lsn(*command)
        assert not set("\x1b\x07\x9b\u202e") & set(answer.out + answer.err), command
        assert "␛" in answer.out + answer.err, command


@pytest.mark.parametrize("failure", ["MemoryError()", 'RuntimeError("DefaultCPUAllocator: can\'t allocate memory")'])
def test_full_memory_is_no_bug(failure):
    code = (
        f"import lsn.cli.app as app\ndef fail(*_, **__):\n    raise {failure}\n"
        "app.app = fail\nraise SystemExit(app.main(['recipes']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("lsn: the memory is full; lower training.batch_size")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_under_the_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lsn", "recipes"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, done.stderr) == (2, "lsn: No space left on device\n")


@pytest.mark.slow
def test_json_of_a_name_that_is_not_unicode_is_printed(weights, clip, tmp_path):
    video = tmp_path / "caf\udce9.mp4"
    shutil.copy(clip, video)
    done = subprocess.run(
        [sys.executable, "-m", "lsn", "predict", weights, video, "--json"], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8", "surrogateescape"))["label"]


def test_a_video_of_frames_is_written_beside_its_source(lsn, weights, tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((4, 32, 32, 3), np.uint8), fps=4)
    assert lsn("predict", weights, tmp_path / "a.mp4", "--annotate", tmp_path / "b.mp4").code == 0
    assert (tmp_path / "b.mp4").is_file()
