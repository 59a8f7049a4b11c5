import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.progress import Progress

from lsn.cli.ui import progress, whole_progress
from lsn.cli.ui.progress import BarProgress, LineProgress, counting_progress, duration, training_progress
from lsn.cli.ui.whole_progress import WholeProgress
from lsn.training import StepReport

REPORT = StepReport(
    step=3,
    num_steps=8,
    epoch=0.75,
    num_epochs=2,
    loss=1.25,
    top1=0.5,
    learning_rate=0.1,
    items_per_second=7.25,
    unit="clips",
    seconds_left=185,
)


class FoundWell:
    def describe(self):
        return "top-1 75.0%, loss 0.500"


def test_lines_tell_how_training_goes(monkeypatch):
    clock = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = LineProgress(Console(file=io.StringIO(), width=200))

    lines.on_start(["what is trained"])
    lines.on_step(replace(REPORT, step=1))  # too early for a line
    lines.on_step(REPORT)
    lines.on_evaluation(2, 4)  # too early again
    lines.on_evaluated(1, FoundWell(), True)
    lines.on_step(replace(REPORT, step=8, epoch=2.0, seconds_left=0))  # the last step is always shown

    assert lines.console.file.getvalue().splitlines() == [
        "what is trained",
        "epoch 0.75/2: 3:05 left, loss 1.250, top-1 50.0%, 7.2 clips/s",
        "epoch 1: validation top-1 75.0%, loss 0.500, the best so far",
        "epoch 2.00/2: 0 s left, loss 1.250, top-1 50.0%, 7.2 clips/s",
    ]


def test_bars_move_and_validations_leave_a_line():
    console = Console(file=io.StringIO(), width=200, force_terminal=True, highlight=False)
    with Progress(*progress.BAR, console=console, auto_refresh=False) as bars:
        shown = BarProgress(bars)
        shown.on_step(REPORT)
        shown.on_evaluation(2, 4)
        bars.refresh()
        text = console.file.getvalue()
        shown.on_evaluated(1, FoundWell(), False)

        assert "epoch 1/2" in text and "3:05 left, loss 1.250, top-1 50.0%, 7.2 clips/s" in text
        assert "2 of 4 videos" in text
        assert [task.description for task in bars.tasks] == ["epoch 1/2"]
        assert (bars.tasks[0].completed, bars.tasks[0].total) == (3, 8)
    assert "epoch 1: validation top-1 75.0%, loss 0.500" in console.file.getvalue()
    assert "best" not in console.file.getvalue()


def test_without_a_terminal_there_are_lines_on_standard_error(capsys):
    with training_progress() as shown:
        shown.on_start(["x" * 300])
    with counting_progress("evaluating") as count:
        count(3, 4)
        count(4, 4)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["x" * 300, "evaluating: 4 of 4"]


def test_only_the_first_process_speaks(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with training_progress() as shown:
        shown.on_start(["quiet"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (185, "3:05"), (7385, "2:03:05")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def whole(monkeypatch, clock, **terminal):
    """Progress of two parts, the first of which takes a fifth of the time; the console that it writes to."""
    monkeypatch.setattr(whole_progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    return Console(file=io.StringIO(), width=200, highlight=False, **terminal), {"writing": 0.2, "training": 0.8}


def test_the_time_left_is_that_of_all_parts(monkeypatch):
    clock = [100.0]
    console, shares = whole(monkeypatch, clock)
    shown = WholeProgress(shares, console, None)
    shown.update("writing", 0.01)  # too little to go by
    clock[0] = 110.0
    shown.update("writing", 0.5, "5 of 10")
    clock[0] = 120.0
    shown.update("training", 0.0)
    clock[0] = 150.0
    shown.update("training", 0.5, "loss 1.0")
    shown.log("half")
    shown.update("training", 1.0)
    assert console.file.getvalue().splitlines() == [
        "writing: 0%",
        "writing: 10%, 1:30 left, 5 of 10",
        "training: 20%, 1:20 left",
        "training: 60%, 33 s left, loss 1.0",
        "half",
        "training: 100%, 0 s left",
    ]


def test_a_part_that_is_skipped_takes_no_time(monkeypatch):
    clock = [0.0]
    console, shares = whole(monkeypatch, clock)
    shown = WholeProgress(shares, console, None)
    shown.skip("writing")
    clock[0] = 10.0
    shown.update("training", 0.25)
    assert console.file.getvalue().splitlines() == ["training: 25%, 30 s left"]


def test_on_a_terminal_the_whole_is_one_bar(monkeypatch):
    console, shares = whole(monkeypatch, [0.0], force_terminal=True)
    with Progress(*progress.BAR, console=console, auto_refresh=False) as bars:
        shown = WholeProgress(shares, console, bars)
        shown.update("writing", 1.0, "10 of 10")
        shown.update("training", 0.5, "loss 1.0")
        (bar,) = bars.tasks
        assert (bar.description, bar.completed, bar.total) == ("training", pytest.approx(0.6), 1.0)
        shown.log("a line above the bar")
    assert "a line above the bar" in console.file.getvalue()
