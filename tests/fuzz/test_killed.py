"""SIGTERM, SIGHUP, SIGINT and kill -9, each at one of four moments of three commands: what was promised is there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import kill_cases
import pytest
from bounded import Bounded
from kill_cases import EXTRACT, FPS, NUM_ANSWERS, NUM_FRAMES, NUM_VIDEOS, STREAM, TRAIN
from warm_server import end_session, lsn, processes_of_session

from lsn.video import open_video

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
TO_THE_GROUP = (signal.SIGHUP, signal.SIGINT)  # a terminal sends these to all of its processes
WARM = ((0.0, 0.25), (0.25, 0.75), (0.75, 1.0))  # moments, as shares of what the whole command takes
COLD = len(WARM)  # the moment of which Python starts too
COLD_START_SECONDS = 3.0
FIRST_SECONDS = 0.05  # until then, the signals are not yet handled
LONGEST_SECONDS = 60.0


def at_four_moments(turn: int) -> pytest.MarkDecorator:
    """Each of the four moments by one of the four signals."""
    pairs = [(moment, SIGNALS[(moment + turn) % len(SIGNALS)]) for moment in range(COLD + 1)]
    return pytest.mark.parametrize(
        ("moment", "signum"), [pytest.param(*pair, id=f"{pair[0]}-{pair[1].name}") for pair in pairs]
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def was_stopped_by(self, signum: int, *, outside: bool) -> bool:
        """Whether the signal ended it, in the way that shells expect.

        Outside of the command, while Python starts or ends, it may end in the system's way, which shells show alike. A
        training asks to be started again (75).
        """
        if signum == signal.SIGKILL:
            return self.code == -signum
        return self.code in (128 + signum, -signum * outside, 75 * (signum == signal.SIGTERM))


class Commands:
    """Runs commands in a folder of their own, to their end or until a signal comes."""

    def __init__(self, bounded: Bounded, inputs: Path) -> None:
        self.bounded, self.inputs = bounded, inputs
        self.seconds = cache(self._seconds)

    def run(self, arguments: Sequence[str], folder: Path) -> Ended:
        """Runs a command to its end."""
        return self._ended(self._start(arguments, folder), folder)

    def stop(self, arguments: tuple[str, ...], folder: Path, signum: signal.Signals, moment: int) -> Ended:
        """Runs a command and sends it a signal."""
        random, seconds = Random(f"{arguments[0]}/{signum.name}/{moment}"), self.seconds(arguments)
        if moment == COLD:
            process = self._start_cold(arguments, folder)
            time.sleep(random.uniform(0.5, COLD_START_SECONDS + seconds))
            _send(process.pid, signum)
            code = process.wait(LONGEST_SECONDS)
            return self._after(process.pid, code, folder)
        pid = self._start(arguments, folder)
        time.sleep(max(FIRST_SECONDS, seconds * random.uniform(*WARM[moment])))
        _send(pid, signum)
        return self._ended(pid, folder)

    def _seconds(self, arguments: tuple[str, ...]) -> float:
        """How long a command takes that is not stopped."""
        folder = self.inputs.with_name(f"timed {arguments[0]}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.inputs, folder)
        start = time.monotonic()
        ended = self.run(arguments, folder)
        assert ended.code == 0, ended
        return time.monotonic() - start

    def _start(self, arguments: Sequence[str], folder: Path) -> int:
        return self.bounded.server.start(
            lsn, tuple(arguments), stdout=folder / "stdout", stderr=folder / "stderr", folder=folder
        )

    def _start_cold(self, arguments: Sequence[str], folder: Path) -> subprocess.Popen:
        with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "lsn", *arguments],
                cwd=folder,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def _ended(self, pid: int, folder: Path) -> Ended:
        code = self.bounded.server.wait(pid, LONGEST_SECONDS)
        if code is None:
            end_session(pid)
            self.bounded.server.wait(pid, LONGEST_SECONDS)
            pytest.fail(f"it does not end: {(folder / 'stderr').read_text()}")
        return self._after(pid, code, folder)

    def _after(self, pid: int, code: int, folder: Path) -> Ended:
        """What was said. No process may be left, once those that were just starting have found their parent gone."""
        give_up = time.monotonic() + LONGEST_SECONDS
        while (left := processes_of_session(pid)) and time.monotonic() < give_up:
            time.sleep(0.02)
        end_session(pid)
        ended = Ended(code, (folder / "stdout").read_text(), (folder / "stderr").read_text())
        assert not left, f"processes are left: {ended}"
        if code != -signal.SIGKILL:
            assert "Traceback" not in ended.err, ended.err
        return ended


@pytest.fixture(scope="session")
def commands(bounded, tmp_path_factory) -> Commands:
    folder = tmp_path_factory.mktemp("killed") / "inputs"
    folder.mkdir()
    outcome = bounded.run(kill_cases.write_inputs, folder)
    assert outcome.kind == "ok", outcome
    return Commands(bounded, folder)


@pytest.fixture
def folder(commands, tmp_path) -> Path:
    """What the commands read, to be worked in."""
    return Path(shutil.copytree(commands.inputs, tmp_path / "work"))


@pytest.fixture(scope="session")
def whole_weights(commands) -> str:
    """A hash of the weights of the run that is not stopped."""
    commands.seconds(TRAIN)
    return kill_cases.weights_hash(commands.inputs.with_name("timed train") / "run")


@at_four_moments(1)  # kill -9 while it trains with workers
def test_training(commands, folder, whole_weights, signum, moment):
    """At even moments there is no checkpoint but the one that the signal asks for; the last warm one has workers."""
    is_killed = signum == signal.SIGKILL
    every = 0 if moment % 2 == 0 and not is_killed else 1
    arguments = (*TRAIN, f"training.checkpoint_every={every}", f"data.num_workers={2 if moment == COLD - 1 else 0}")
    run = folder / "run"

    ended = commands.stop(arguments, folder, signum, moment)

    is_outside = moment == COLD or (run / "report.html").exists()
    assert ended.code == 0 or ended.was_stopped_by(signum, outside=is_outside), ended
    has_checkpoint = (run / "checkpoint.pt").exists()
    if not is_killed and ended.code > 0:
        lines = _json_lines(run / "metrics.jsonl")
        steps_done = max((line["step"] for line in lines), default=0)
        assert steps_done == 0 or commands.bounded.run(kill_cases.checkpoint_step, run).value >= steps_done
        assert _partial_names(folder) == []
    if ended.code != 0:
        arguments = (*TRAIN, f"training.checkpoint_every={every}")  # readers of clips change nothing
        again = commands.run((*arguments, "--resume") if has_checkpoint else arguments, folder)
        assert again.code == 0, (ended, again)
    assert kill_cases.weights_hash(run) == whole_weights
    lines = _json_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if line["kind"] == "val"] == [3, 6]
    assert _partial_names(folder) == []


@at_four_moments(2)
def test_streaming(commands, folder, signum, moment):
    record, state = folder / "seen.mp4", folder / "state.safetensors"

    ended = commands.stop(STREAM, folder, signum, moment)

    said = ended.out.splitlines(keepends=True)
    if signum == signal.SIGKILL:
        said = [line for line in said if line.endswith("\n")]
    lines = [json.loads(line) for line in said]
    is_over = bool(lines) and "counts" in lines[-1]
    answers = lines[:-1] if is_over else lines
    assert [answer["seconds"] for answer in answers] == [t / FPS for t in range(len(answers))]
    events = _json_lines(folder / "events.jsonl", may_be_cut=signum == signal.SIGKILL)
    assert len(events) >= sum(len(line["events"]) for line in lines[:-1])
    if signum == signal.SIGKILL:
        if ended.code == 0:
            assert len(answers) == NUM_ANSWERS
        if record.exists():
            assert is_over and _num_frames(record) == NUM_ANSWERS
        again = commands.run(STREAM, folder)
        assert again.code == 0, again
        answers = json_answers(again.out)
    elif not lines:  # it came before the stream was there
        assert ended.was_stopped_by(signum, outside=moment == COLD), ended
        assert not record.exists() and not state.exists()
    else:
        assert ended.code == 0 or ended.was_stopped_by(signum, outside=len(answers) == NUM_ANSWERS), ended
        assert is_over and lines[-1]["error"] is None, ended
    assert _partial_names(folder) == []
    if answers:
        assert _num_frames(record) == len(answers)
        outcome = commands.bounded.run(kill_cases.go_on, folder, answers[-1]["seconds"])
        assert outcome.kind == "ok", outcome
        assert [answer["reset"] for answer in outcome.value] == [None, None]
        assert [answer["num_frames"] for answer in outcome.value] == [len(answers) + 1, len(answers) + 2]


@at_four_moments(3)
def test_extracting_frames(commands, folder, signum, moment):
    out = folder / "out"

    ended = commands.stop(EXTRACT, folder, signum, moment)

    is_outside = moment == COLD or (out / "clips.csv").exists()
    assert ended.code == 0 or ended.was_stopped_by(signum, outside=is_outside), ended
    counts = _frames_by_folder(out)
    assert set(counts.values()) <= {NUM_FRAMES}, counts
    again = commands.run(EXTRACT, folder)
    assert again.code == 0, again
    assert list(_frames_by_folder(out).values()) == [NUM_FRAMES] * NUM_VIDEOS
    assert len((out / "clips.csv").read_text().splitlines()) == 1 + NUM_VIDEOS
    assert _partial_names(folder) == []


def json_answers(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()][:-1]


def _send(pid: int, signum: signal.Signals) -> None:
    (os.killpg if signum in TO_THE_GROUP else os.kill)(pid, signum)


def _json_lines(path: Path, *, may_be_cut: bool = False) -> list[dict]:
    """The lines of a file; none if it is not there."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    if may_be_cut:
        lines = [line for line in lines if line.endswith("\n")]
    assert all(line.endswith("\n") for line in lines)
    return [json.loads(line) for line in lines]


def _partial_names(folder: Path) -> list[str]:
    """What was being written, anywhere below a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if ".partial" in path.name]


def _num_frames(path: Path) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video)


def _frames_by_folder(out: Path) -> dict[str, int]:
    """Frames of each finished folder."""
    frames = out / "frames"
    folders = {path.parent for path in frames.rglob("*.jpg") if ".partial" not in str(path)}
    return {str(each.relative_to(frames)): len(list(each.iterdir())) for each in folders}
