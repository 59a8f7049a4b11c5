"""`lsn data` with timelines."""

import json
import shutil
import typing

import pytest
from PIL import Image
from video_files import encode_pictures

from lsn.data.timelines.reading import FORMATS

HEADER = "path,label,start_seconds,end_seconds\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two videos of two seconds with events in `t.csv`; the working directory."""
    for name in ("one.mp4", "two.mp4"):
        encode_pictures(tmp_path / name, num_frames=60)
    (tmp_path / "t.csv").write_text(HEADER + "one.mp4,pour,0,1\none.mp4,stir,1.2,2\ntwo.mp4,,,\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_says_what_was_looked_at(lsn, folder):
    answer = lsn("data", "check", "t.csv", "--timelines")
    assert (answer.code, answer.out) == (0, "t.csv: 2 videos, 2 events of 2 labels\nNo problems.\n")


def test_check_names_the_line_of_an_event_outside_of_its_video(lsn, folder):
    (folder / "t.csv").write_text(HEADER + "one.mp4,pour,0,1\none.mp4,stir,1.2,9\n")
    answer = lsn("data", "check", "t.csv", "--timelines")
    assert answer.code == 2
    assert "t.csv line 3: 'stir' at 1.2 to 9 s lies beyond one.mp4, which ends at 2.000 s" in " ".join(
        answer.out.split()
    )
    assert answer.err.endswith("lsn: 1 error in t.csv, listed above\n")


def test_check_compares_two_splits(lsn, folder):
    (folder / "val.csv").write_text(HEADER + "one.mp4,pour,0,1\n")
    answer = lsn("data", "check", "t.csv", "val.csv", "--timelines")
    assert "one.mp4 is in train, too (1 such videos)" in " ".join(answer.out.split())


def test_show_prints_numbers_and_draws_the_events(lsn, folder):
    answer = lsn("data", "show", "t.csv", "--timelines", "--sheet", "t.png")
    assert "2 videos of 0.1 minutes in all, 1 of them without events; 2 events, 1800 an hour" in " ".join(
        answer.out.split()
    )
    assert "55.0% of the time, which is background" in " ".join(answer.out.split())
    with Image.open(folder / "t.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20


def test_convert_there_and_back(lsn, folder):
    assert lsn("data", "convert", "t.csv", "ls.json", "--format", "label-studio").code == 0
    assert len(json.loads((folder / "ls.json").read_text())) == 2
    assert lsn("data", "convert", "ls.json", "back.csv").out == "2 videos with 2 events of 2 labels: back.csv\n"
    assert (folder / "back.csv").read_text().splitlines()[1:] == [
        f"{folder}/one.mp4,pour,0.0,1.0",
        f"{folder}/one.mp4,stir,1.2,2.0",
        f"{folder}/two.mp4,,,",
    ]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("t.csv", "t.csv"), "t.csv: would be written over t.csv, which is read"),
        (("t.csv", "new.json"), "new.json: no format is given; choose from csv, jsonl, activitynet"),
        (("t.csv", "new", "--format", "thumos"), "two.mp4 has no event, which this format cannot hold"),
        (("none.json", "new.csv"), "none.json: no such timeline"),
        (("one.mp4", "new.csv"), "one.mp4: cannot recognise timelines by '.mp4'"),
    ],
)
def test_convert_refuses(arguments, what, lsn, folder):
    assert what in lsn("data", "convert", *arguments).one_error_line()
    assert not (folder / "new").exists()


def test_evaluate_runs_long_videos_as_streams(lsn, streaming, folder):
    (folder / "t.csv").write_text(HEADER + "one.mp4,growing,0,1\none.mp4,opening,1.2,2\ntwo.mp4,,,\n")
    easy = ("--on-threshold", 0.02, "--off-threshold", 0.01, "--min-seconds", 0)
    answer = lsn("evaluate", streaming, "t.csv", "--timelines", "--out", "seen", *easy)
    assert answer.code == 0
    assert "2 videos of 0.1 minutes in all with 2 events" in answer.out
    found = (folder / "seen/events.csv").read_text().splitlines()
    assert found[0] == "path,label,start_seconds,end_seconds,confidence"
    metrics = json.loads((folder / "seen/timelines.json").read_text())["metrics"]
    assert (metrics["num_videos"], metrics["found"] + metrics["missed"]) == (2, 2)
    assert metrics["found"] + metrics["false"] == sum(1 for row in found[1:] if not row.endswith(",,,,"))


def test_evaluate_refuses_what_is_for_clips_and_labels_that_it_does_not_know(lsn, streaming, folder):
    answer = lsn("evaluate", streaming, "t.csv", "--timelines", "--anytime")
    assert "--anytime is for clips; leave it out" in answer.one_error_line()
    answer = lsn("evaluate", streaming, "t.csv", "--timelines")
    assert "t.csv: unknown label 'pour'; choose from" in answer.err


def test_fitted_rules_become_the_default_of_streams(lsn, streaming, folder):
    shutil.copytree(streaming, folder / "weights")
    (folder / "t.csv").write_text(HEADER + "one.mp4,growing,0,1\none.mp4,opening,1.2,2\ntwo.mp4,,,\n")
    answer = lsn("evaluate", "weights", "t.csv", "--timelines", "--fit")
    assert "Kept with the weights: events start at" in answer.out
    rules = json.loads((folder / "weights/config.json").read_text())["events"]
    answer = lsn("stream", "weights", "one.mp4")
    assert f"events start at {rules['on_threshold']:.2f} (fitted for these weights)" in " ".join(answer.out.split())
    answer = lsn("stream", "weights", "one.mp4", "--on-threshold", 0.5)
    assert "events start at 0.50 and end at" in " ".join(answer.out.split())
    assert "add --timelines" in lsn("evaluate", "weights", "--fit").one_error_line()


def test_convert_knows_the_formats_that_are_written():
    from lsn.cli.commands.data.timelines import convert

    hint = typing.get_type_hints(convert)["format"]
    assert typing.get_args(typing.get_args(hint)[0]) == FORMATS
