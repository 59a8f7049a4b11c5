"""Real commands in real processes, and signals that reach them and their workers at any moment."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from lsn.cli.signals import Stopped, handling_stop_signals, raise_stopped

# The moments count from when the interpreter is up: before that, no line of ours has run.
COMMAND = """
import runpy, signal, sys
for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, signal.SIG_DFL)  # a shell that runs the tests in the background ignores SIGINT
print("up", flush=True)
runpy.run_module("lsn", run_name="__main__")
"""


class Command:
    """A command in a session of its own, which is killed in the end."""

    def __init__(self, *arguments: object, cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "Command":
        assert self.process.stdout.readline() == "up\n"
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=60)

    def signal_all(self, signum: int) -> None:
        """As a terminal does: to the command and its workers."""
        os.killpg(self.process.pid, signum)

    def end(self) -> tuple[int, str]:
        """Exit code and standard error, once all processes of the session are gone."""
        _, err = self.process.communicate(timeout=120)
        deadline = time.monotonic() + 20
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        return self.process.returncode, err

    def processes(self) -> dict[int, str]:
        found = {}
        for path in Path("/proc").iterdir():
            with suppress(ProcessLookupError, FileNotFoundError):
                if path.name.isdigit() and os.getsid(int(path.name)) == self.process.pid:
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        return found


@pytest.fixture(scope="module")
def many(clip, videos, tmp_path_factory):
    """A manifest of 3000 videos, to be read for long."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(3000):
        os.link(clip, folder / f"{number}.mp4")
    rows = [f"{number}.mp4,{videos.labels[0]}" for number in range(3000)]
    (folder / "many.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return folder


COMMANDS = {
    "synthesize": ("data", "synthesize", "set", "--num-train", "20000"),
    "bench": ("bench", "WEIGHTS", "--seconds", "60"),
    "evaluate": ("evaluate", "WEIGHTS", "MANY/many.csv", "--workers", "2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_any_moment_is_one_line_and_leaves_nothing(name, many, weights, tmp_path):
    arguments = [part.replace("MANY", str(many)).replace("WEIGHTS", str(weights)) for part in COMMANDS[name]]
    rng = Random(name)
    for moment in (0.05, *(rng.uniform(0.05, 6) for _ in range(2))):
        with Command(*arguments, cwd=tmp_path) as command:
            time.sleep(moment)
            command.signal_all(signal.SIGINT)
            code, err = command.end()
        where = f"after {moment:.2f} s: {code}\n{err}"
        # Before the command has begun, the signal ends the process as the system does: shells call that 130 too.
        assert (code, err) in ((130, "lsn: interrupted\n"), (-signal.SIGINT, "")), where
        assert not list(tmp_path.rglob("*.partial*")), where


@pytest.mark.slow
def test_workers_that_are_signalled_too_do_not_die_before_their_parent(many, weights, tmp_path):
    with Command("evaluate", weights, many / "many.csv", "--workers", "2", cwd=tmp_path) as command:
        deadline = time.monotonic() + 100
        while sum("forkserver" in line for line in command.processes().values()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        command.signal_all(signal.SIGTERM)
        assert command.end() == (143, "lsn: interrupted\n")


PARENT = """
import multiprocessing, subprocess, time
from lsn.data.loading.workers import exit_with_parent, starting_workers

def work(ready):
    ready.set()
    time.sleep(1)  # as long as imports take
    exit_with_parent()
    time.sleep(1000)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    with starting_workers():
        worker = context.Process(target=work, args=(ready,), daemon=True)
        worker.start()
    ready.wait()
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
"""


@pytest.mark.slow
def test_a_worker_that_is_signalled_before_it_can_look_ends_with_its_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    subprocess.run([sys.executable, "parent.py"], cwd=tmp_path, check=True, timeout=60)


@pytest.fixture
def _ctrl_c_is_heard():
    """A shell has the commands that it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def is_dropped_by_python():
    Dying()


def is_caught_by_a_library():
    with suppress(BaseException):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("_ctrl_c_is_heard")
@pytest.mark.parametrize("lose", [is_dropped_by_python, is_caught_by_a_library])
def test_a_signal_that_is_lost_comes_again(lose, capfd):
    with pytest.raises(Stopped), handling_stop_signals(raise_stopped):
        lose()
        time.sleep(30)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_a_signal_whose_work_is_being_ended_does_not_come_again():
    ended = False
    with pytest.raises(Stopped), handling_stop_signals(raise_stopped):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            with suppress(ValueError):
                raise ValueError
            time.sleep(1)
            ended = True
    assert ended


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_a_signal_while_a_module_is_imported_comes_after_that(tmp_path, monkeypatch):
    (tmp_path / "long_import.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.2)\nis_complete = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Stopped), handling_stop_signals(raise_stopped):
        import long_import

        time.sleep(30)
    assert long_import.is_complete
    del sys.modules["long_import"]
