import json
import sys

import pytest

from lsn.errors import ConfigError, DataError
from lsn.training.tracking import Tracker


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_lines_are_appended(tmp_path):
    tracker = Tracker(tmp_path, step=0, validated=True, tensorboard=False)
    tracker.log("train", epoch=0.5, step=3, loss=1.5)
    tracker.log("val", epoch=1, step=6, top1=0.25)
    tracker.close()

    assert lines(tmp_path) == [
        {"kind": "train", "epoch": 0.5, "step": 3, "loss": 1.5},
        {"kind": "val", "epoch": 1, "step": 6, "top1": 0.25},
    ]


def test_resuming_drops_what_lies_beyond_the_checkpoint(tmp_path):
    tracker = Tracker(tmp_path, step=0, validated=True, tensorboard=False)
    for step in range(1, 6):
        tracker.log("train", epoch=step / 5, step=step)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "epo')  # killed in the middle of a line

    Tracker(tmp_path, step=3, validated=True, tensorboard=False).log("train", epoch=0.8, step=4, again=True)

    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]
    assert lines(tmp_path)[-1]["again"]


@pytest.mark.parametrize(
    "damage",
    [b"\xf0\n", b"{\n", b"{}\n", b"[]\n", b'{"kind": "val", "step": "2"}\n', b'{"kind": "unreadable", "step": 2}\n'],
)
def test_damaged_metrics_are_an_error_that_names_the_line_or_the_file(tmp_path, damage):
    Tracker(tmp_path, step=0, validated=True, tensorboard=False).log("train", epoch=1, step=1)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(damage)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(DataError, match=r"metrics\.jsonl line 2: not"):
        Tracker(tmp_path, step=3, validated=True, tensorboard=False)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_validation_that_is_to_be_repeated_is_dropped(tmp_path):
    tracker = Tracker(tmp_path, step=0, validated=True, tensorboard=False)
    tracker.log("train", epoch=1, step=4)
    tracker.log("val", epoch=1, step=4)

    Tracker(tmp_path, step=4, validated=True, tensorboard=False)
    assert [line["kind"] for line in lines(tmp_path)] == ["train", "val"]
    Tracker(tmp_path, step=4, validated=False, tensorboard=False)
    assert [line["kind"] for line in lines(tmp_path)] == ["train"]


def test_an_unreadable_clip_is_listed_once_even_after_resuming(tmp_path):
    tracker = Tracker(tmp_path, step=0, validated=True, tensorboard=False)
    tracker.log_unreadable("a.mp4", "empty", epoch=0.1, step=1)
    tracker.log_unreadable("a.mp4", "empty", epoch=1.1, step=11)
    Tracker(tmp_path, step=5, validated=True, tensorboard=False).log_unreadable("a.mp4", "empty", epoch=0.6, step=6)

    assert lines(tmp_path) == [{"kind": "unreadable", "epoch": 0.1, "step": 1, "path": "a.mp4", "error": "empty"}]


def test_tensorboard_gets_the_numbers(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = Tracker(tmp_path, step=0, validated=True, tensorboard=True)
    tracker.log("val", epoch=1, step=6, top1=0.25, note="text")
    tracker.close()

    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (scalar,) = events.Scalars("val/top1")
    assert (scalar.step, scalar.value) == (6, 0.25)


def test_a_missing_tensorboard_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'lsn-video\[tb\]'"):
        Tracker(tmp_path, step=0, validated=True, tensorboard=True)
