"""Input that was made to break things, or looks like it: each gets one line that names it, and exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NINE_TIMES_NINE = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Stands for 9^9 values in some 300 bytes."""

IN_8_GB = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from lsn.cli import main
sys.exit(main(sys.argv[1:]))
"""


def recipe(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("training:\n  epochs: 3\n  seed: 1\n  epochs: 30\n", "'epochs'", "in line 2 and in line 4"),
        ("training: {epochs: 3}\nmodel: {}\ntraining: {epochs: 30}\n", "'training'", "in line 1 and in line 3"),
        ('training:\n  epochs: 3\n  "epochs": 3\n', "'epochs'", "in line 2 and in line 3"),
    ],
)
def test_a_key_that_occurs_twice_in_a_recipe(lsn, tmp_path, text, key, lines):
    path = recipe(tmp_path, text)
    said = lsn("train", path).one_error_line()
    assert f"{path}: not a readable YAML file: the key {key} occurs twice, {lines}" in said


def test_a_key_that_occurs_twice_in_an_override(lsn):
    said = lsn("train", "demo", "training={epochs: 3, epochs: 30}").one_error_line()
    assert "the key 'epochs' occurs twice" in said


def test_a_section_may_be_merged_and_changed(tmp_path):
    from lsn.config import load_config

    text = "training: &one\n  epochs: 3\n  batch_size: 2\nevaluation:\n  <<: {batch_size: 3}\n  batch_size: 4\n"
    config = load_config(recipe(tmp_path, text))
    assert (config.training.batch_size, config.evaluation.batch_size) == (2, 4)


@pytest.mark.parametrize(
    "text",
    [
        f"{NINE_TIMES_NINE}model: {{name: *i}}",
        f"model: {{name: {'[' * 5000}}}",
        "model: &a {name: *a}",
        "model: &a {<<: *a}",
        "model: {name: !!python/object/apply:os.getcwd []}",
        "training: {seed: !!int x}",
        "training: {seed: !!bool x}",
        "training: {seed: !!timestamp x}",
        "model: {name: a\0b}",
        "? [model]\n: {}",
    ],
)
def test_a_recipe_made_to_break_the_reader(lsn, tmp_path, text):
    path = recipe(tmp_path, text)
    said = lsn("train", path).one_error_line()
    assert f"{path}: not a readable YAML file: " in said
    assert len(said) < 500


@pytest.mark.parametrize(
    "text",
    [f"{NINE_TIMES_NINE[:150]}model: {{name: x}}", "3: {}", "model: {3: x}", "model: !!set {a}", "!!binary YQ=="],
)
def test_a_recipe_of_other_things_is_refused_in_a_short_line(lsn, tmp_path, text):
    said = lsn("train", recipe(tmp_path, text)).one_error_line()
    assert str(tmp_path / "mine.yaml") in said
    assert len(said) < 500


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.seed=2020-01-01", "training: seed: expected int, got datetime.date(2020, 1, 1)"),
        ("training.seed=2020-13-45", "the value is not YAML: a value that does not fit its type: month must be"),
        ("training.seed=12345678901234567890123456", "seed: expected a number of at most 64 bits, got 1234567890"),
        ("training.seed=-1", "training.seed is -1; it must be between 0 and 2^63 - 1"),
        (f"training.epochs=1{'0' * 400}", "epochs: expected a number of at most 64 bits, got 1000"),
        (f"training.epochs=1{'0' * 5000}", "the value is not YAML: a value that does not fit its type: Exceeds"),
        (f"optim.learning_rate=1{'0' * 400}", "learning_rate: expected a number of at most 64 bits"),
        ("optim.learning_rate=1e400", "learning_rate: expected a finite number, got inf"),
        ("training.epochs=!!set {a}", "epochs: expected int, got {'a'}"),
        ("training.epochs=!!binary YQ==", "epochs: expected int, got b'a'"),
        ("training={2: 3}", "training: unknown key 2"),
        (f"training={{? {'a' * 9000} : 3}}", "training: unknown key 'aaa"),
        (f"model.name={'[' * 5000}", "the value is not YAML: nested too deeply"),
        ("model.name=[x, [y]]", "name: expected str, got ['x', ['y']]"),
        (f"model.memory={'x' * 100_000}", "memory: 'xxx"),
        (f"{'x' * 100_000}=3", "unknown key 'xxx"),
        ('data.train="a\\0b"', "train: expected text without NUL and halves of characters, got 'a\\x00b'"),
        ('data.train="a\\ud800b"', "train: expected text without NUL and halves of characters, got 'a\\ud800b'"),
        ("data.num_workers=-1", "data.num_workers is -1; it must be 0 or more"),
    ],
)
def test_an_override_that_is_no_value(lsn, tmp_path, override, expected):
    said = lsn("train", "demo", override, "--out", tmp_path / "run").one_error_line()
    assert expected in said
    assert len(said) < 600
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [0, 2**63 - 1])
def test_every_seed_that_is_allowed_can_be_trained_with(number):
    import torch

    from lsn.config import TrainingConfig

    torch.manual_seed(TrainingConfig(seed=number).seed)


@pytest.mark.parametrize("command", ["data synthesize {} --workers", "data extract-frames {} --out {}/x --workers"])
def test_workers_below_none(lsn, tmp_path, command):
    said = lsn(*command.format(tmp_path, tmp_path).split(), -1).one_error_line()
    assert "the number of workers is -1; it must be at least" in said
    assert list(tmp_path.iterdir()) == []


def test_workers_below_none_for_an_evaluation(lsn, weights, videos):
    answer = lsn("evaluate", weights, videos.val, "--workers", -1)
    assert (answer.code, answer.err) == (2, "lsn: the number of workers is -1; it must be at least 0\n")


def test_more_workers_than_work_are_not_started(lsn, tmp_path):
    arguments = ("--num-train", 10, "--num-val", 10, "--size", 32, "--num-frames", 4, "--workers", 50_000)
    assert lsn("data", "synthesize", tmp_path / "set", *arguments).code == 0


@pytest.mark.parametrize(
    "command",
    [
        ["data", "check", "{}"],
        ["data", "show", "m.csv", "--root", "{}"],
        ["data", "extract-frames", "m.csv", "--out", "{}"],
        ["data", "prepare", "diving48", "--annotations", "{}", "--out", "out"],
        ["data", "synthesize", "{}"],
        ["recipes", "copy", "demo", "{}.yaml"],
        ["train", "demo", "data.train={}"],
    ],
)
@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_name_that_no_file_can_have(lsn, clip, tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text(f"path,label\n{clip},x\n", encoding="utf-8")
    said = lsn(*(argument.format(name) for argument in command)).one_error_line()
    assert "an argument cannot hold NUL or half of a character" in said
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]


PIPES = [
    ["data", "check", "pipe.csv"],
    ["data", "check", "pipe.jsonl"],
    ["data", "check", "pipe.txt", "--labels", "labels.txt"],
    ["data", "check", "m.csv", "--labels", "pipe.txt"],
    ["data", "check", "m.csv", "--labels", "pipe.json"],
    ["train", "pipe.yaml"],
    ["recipes", "show", "pipe.yaml"],
    ["recipes", "copy", "pipe.yaml", "copy.yaml"],
    ["data", "extract-frames", "m.csv", "--out", "extracted"],
    ["data", "synthesize", "synthesized"],
    ["data", "prepare", "diving48", "--annotations", "official", "--out", "new"],
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_not_read(tmp_path, kind):
    """In a process of its own, which may neither wait nor take all memory."""
    (tmp_path / "m.csv").write_text("path,label\nx.mp4,a\n", encoding="utf-8")
    (tmp_path / "labels.txt").write_text("a\n", encoding="utf-8")
    names = ["pipe.csv", "pipe.jsonl", "pipe.txt", "pipe.json", "pipe.yaml"]
    names += ["extracted/extraction.json", "synthesized/synthetic.json"]
    names += ["official/Diving48_V2_train.json", "official/Diving48_V2_test.json", "official/Diving48_vocab.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if kind == "pipe":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).symlink_to("/dev/zero")
    limited = (
        "import json, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)); "
        "from lsn.cli import main; print([main(command) for command in json.loads(sys.argv[1])])"
    )
    run = subprocess.run(
        [sys.executable, "-c", limited, json.dumps(PIPES)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert run.stdout == f"{[2] * len(PIPES)}\n", run.stderr
    errors = run.stderr.splitlines()
    assert len(errors) == len(PIPES), run.stderr
    for line in errors:
        assert "is no regular file but a device or a pipe" in line or "is no synthetic data set" in line


@pytest.mark.parametrize("line", ['{"path": "x.mp4", "label": "a\\ud800"}', '{"path": "x\\u0000.mp4", "label": "a"}'])
def test_a_line_of_json_with_what_cannot_be_written(lsn, tmp_path, line):
    path = tmp_path / "m.jsonl"
    path.write_text(f"{json.dumps({'path': 'x.mp4', 'label': 'a'})}\n{line}\n", encoding="utf-8")
    assert f"{path} line 2: " in lsn("data", "extract-frames", path, "--out", tmp_path / "out").one_error_line()


def test_a_forged_record_of_frames(lsn, videos, tmp_path):
    (tmp_path / "out/frames").mkdir(parents=True)
    (tmp_path / "kept.txt").touch()
    record = {"settings": {}, "top": str(tmp_path), "manifests": {}, "videos": {"../..": "x.mp4"}}
    (tmp_path / "out/extraction.json").write_text(json.dumps(record), encoding="utf-8")
    said = lsn("data", "extract-frames", videos.val, "--out", tmp_path / "out").one_error_line()
    assert (
        f"{tmp_path / 'out/extraction.json'}: not a record of extracted frames: the folder of 'x.mp4' is '../..'"
        in said
    )
    assert (tmp_path / "kept.txt").exists()


def test_a_recipe_without_a_name_would_have_its_run_in_the_folder_above(lsn, tmp_path):
    (tmp_path / "...yaml").touch()
    assert "a recipe needs a name before its ending" in lsn("train", tmp_path / "...yaml").one_error_line()


def test_names_that_are_not_utf8_go_through_the_commands(lsn, videos, clip, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / "videos/wave").mkdir(parents=True)
    (tmp_path / "videos/wave" / name).write_bytes(clip.read_bytes())
    assert lsn("data", "extract-frames", "videos", "--out", "out").code == 0
    assert lsn("data", "check", "out/videos.csv").code == 0
    assert lsn("data", "check", "videos").code == 0

    arguments = ("--fps", 8, "--on-threshold", 0.01, "--min-seconds", 0.1)
    video = tmp_path / "videos/wave" / name
    for command in (("timeline", weights, video), ("stream", weights, video, "--events", "seen/events.jsonl")):
        answer = lsn(*command, *arguments)
        assert answer.code == 0, answer.err
    logs = list(tmp_path.rglob("events.jsonl"))
    assert len(logs) == 2
    for log in logs:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert {line["stream"] for line in lines} == {str(video)}
