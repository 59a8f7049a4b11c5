"""The frame around the commands: help, typing mistakes, exit codes, what a pipe or Ctrl-C does to it."""

import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from lsn.cli.app import app

COMMANDS = tuple(name for name in app if not name.startswith("-"))
SUBCOMMANDS = tuple((name, sub) for name in COMMANDS for sub in app[name] if not sub.startswith("-"))


def test_help_names_every_command_with_one_line(lsn):
    answer = lsn("--help")
    assert (answer.code, answer.err) == (0, "")
    for name in COMMANDS:
        (line,) = [line for line in answer.out.splitlines() if line.startswith(f"│ {name} ")]
        assert line.rstrip("│ ").endswith("."), "its description should fit the line"
    assert "Example: lsn demo" in answer.out
    assert "--debug" in answer.out


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), *SUBCOMMANDS], ids=" ".join)
def test_every_command_explains_each_of_its_parameters(command):
    sub = app
    for name in command:
        sub = sub[name]
    if sub.default_command is not None:
        arguments = sub.assemble_argument_collection(parse_docstring=True)
        for argument in arguments.filter_by(show=True):  # without the groups of options, whose members follow
            assert argument.parameter.help, f"{' '.join(command)}: {argument.name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(lsn, command):
    answer = lsn(command, "--help")
    assert answer.code == 0
    assert f"Usage: lsn {command}" in answer.out
    assert "Example: lsn " in answer.out


def test_no_command_shows_the_help(lsn):
    assert lsn().out == lsn("--help").out


def test_version(lsn):
    import lsn as package

    assert lsn("--version").out.strip() == package.__version__


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["trian"], ["'trian'", "did you mean 'train'?", "lsn --help"]),
        (["xyz"], ["'xyz'", *COMMANDS]),
        (["data", "shwo"], ["'shwo'", "did you mean 'show'?", "lsn data --help"]),
        (["recipes", "lst"], ["'lst'", "did you mean 'list'?"]),
        (["evaluate", "w", "d", "--clip", "2"], ["--clip", "Did you mean --clips?", "lsn evaluate --help"]),
        (["train", "demo", "--epochs", "3"], ["--epochs", "section.key=value"]),
        (["train"], ["data.train is not set", "data.train=PATH"]),
        (["train", "training.epohcs=3"], ["'epohcs'", "did you mean 'epochs'?"]),
        (["train", "dmeo"], ["'dmeo'", "did you mean 'demo'?"]),
        (["train", "none/mine.yaml"], ["none/mine.yaml", "lsn recipes"]),
        (["train", "demo", "training.epohcs=3"], ["'epohcs'", "did you mean 'epochs'?"]),
        (["predict", "w", "v", "--crops", "2"], ["--crops", "1, 3"]),
        (["predict", "w", "v", "--top", "many"], ["--top", "many"]),
        (["predict", "w", "v", "--top", "0"], ["--top is 0"]),
        (["predict", "w"], ["no video", "lsn predict w VIDEO"]),
        (["data", "check"], ["one manifest, or two"]),
        (["data", "synthesize", "d", "--kind", "moton"], ["moton", "motion"]),
    ],
    ids=" ".join,
)
def test_a_typing_mistake_is_one_line_with_the_way_out(lsn, typed, expected):
    said = lsn(*typed).one_error_line()
    for part in expected:
        assert part in said


def test_debug_shows_where_an_error_came_from(lsn):
    for arguments in (["--debug", "train", "dmeo"], ["train", "dmeo", "--debug"]):
        answer = lsn(*arguments)
        assert answer.code == 2
        assert answer.err.startswith("Traceback")
        assert answer.err.splitlines()[-1].startswith("lsn: no recipe is called 'dmeo'")


def fail_with(monkeypatch, error: BaseException) -> None:
    def fail():
        raise error

    monkeypatch.setattr("lsn.cli.commands.recipes.list_recipes", fail)


def test_a_bug_shows_its_traceback_and_exits_with_1(lsn, monkeypatch):
    fail_with(monkeypatch, ZeroDivisionError("oops"))
    answer = lsn("recipes")
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert "ZeroDivisionError: oops" in answer.err
    assert "a bug in LSN" in answer.err.splitlines()[-1]


def test_what_the_system_refuses_is_one_line(lsn, monkeypatch):
    fail_with(monkeypatch, PermissionError(13, "Permission denied", "/there"))
    assert lsn("recipes").one_error_line() == "lsn: /there: Permission denied\n"


def test_a_full_gpu_is_explained(lsn, monkeypatch):
    import torch

    fail_with(monkeypatch, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"))
    assert "training.batch_size" in lsn("recipes").one_error_line()


def test_ctrl_c_exits_with_130_and_a_line(lsn, monkeypatch):
    fail_with(monkeypatch, KeyboardInterrupt())
    answer = lsn("recipes")
    assert (answer.code, answer.out, answer.err) == (130, "", "lsn: interrupted\n")


def test_warnings_of_the_library_reach_standard_error_once_a_run(lsn, monkeypatch):
    def warn():
        logging.getLogger("lsn.data").warning("a clip was left out")
        return []

    monkeypatch.setattr("lsn.cli.commands.recipes.list_recipes", warn)
    for _ in range(2):
        assert lsn("recipes").err == "lsn: warning: a clip was left out\n"


def test_under_torchrun_only_the_first_process_prints_but_all_may_fail(lsn, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    assert "demo" in lsn("recipes").out
    monkeypatch.setenv("RANK", "1")
    assert lsn("recipes").out == ""
    assert lsn("train", "dmeo").err.startswith("lsn [rank 1]: no recipe")


@pytest.mark.parametrize("command", [("recipes",), ("recipes", "show", "demo"), ("--help",)], ids=" ".join)
def test_a_closed_pipe_is_left_in_silence(command):
    process = subprocess.Popen(
        [sys.executable, "-m", "lsn", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) != 0


@pytest.mark.slow
def test_ctrl_c_in_a_real_process_leaves_no_half_data_set(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "lsn", "data", "synthesize", "set", "--num-train", "20000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background ignores SIGINT, and so would the process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and its workers
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "lsn: interrupted"
    assert list(tmp_path.iterdir()) == []
