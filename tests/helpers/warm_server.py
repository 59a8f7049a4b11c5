"""A process that has imported LSN, and forks a new one for each piece of work: in milliseconds, not in seconds.

It runs one thread, so that no fork inherits a lock that is never released, and it is nobody's terminal: a child has a
session and a process group of its own, the signals of a fresh Python, and whatever it starts is its own.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}


class WarmServer:
    """Starts the server; close it, or use it as a context manager.

    Args:
        modules: what it imports before anything is forked.
    """

    def __init__(self, *modules: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *modules],
                pass_fds=[theirs.fileno()],
                env=os.environ | _ONE_THREAD | {"PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())

    def prepare(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls a function in the server itself, for what it leaves in memory; it must not start threads."""
        self._ask("prepare", function, arguments)

    def start(
        self, function: Callable[..., int | None], *arguments: Any, stdout: Path, stderr: Path, folder: Path
    ) -> int:
        """Calls a function in a forked process, which ends with what it returns as its exit code.

        Args:
            function: of a module that the server can import too.
            arguments: can be pickled.
            stdout: file for the output.
            stderr: file for the errors.
            folder: working directory.

        Returns:
            The number of the process, which is that of its session and its process group too.
        """
        return self._ask("start", function, arguments, str(stdout), str(stderr), str(folder))

    def wait(self, pid: int, timeout_seconds: float) -> int | None:
        """The exit code of a process that was started, negative for a signal; None if it still runs."""
        return self._ask("wait", pid, timeout_seconds)

    def close(self) -> None:
        """Ends the server."""
        self._connection.close()
        self._process.wait(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, *request: Any) -> Any:
        self._connection.send(request)
        is_well, answer = self._connection.recv()
        if not is_well:
            raise RuntimeError(f"the server failed:\n{answer}")
        return answer


def lsn(arguments: tuple[str, ...]) -> int:
    """Runs a command in this process, as `python -m lsn` does."""
    from lsn.__main__ import run

    sys.argv = ["lsn", *arguments]
    return run()


def processes_of_session(session: int) -> list[int]:
    """The live processes of a session; those that have ended and that nobody has waited for do not count."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended meanwhile
            continue
        if int(its_session) == session and state not in "ZX":
            found.append(int(folder.name))
    return found


def end_session(session: int) -> None:
    """Kills what is left of a session that the server started."""
    for pid in processes_of_session(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _serve(connection: Connection) -> int:
    """Answers requests until the other side closes; in a forked child, returns its exit code."""
    while True:
        try:
            kind, *request = connection.recv()
        except EOFError:
            return 0
        try:
            if kind == "start":
                answer = os.fork()
                if answer == 0:
                    connection.close()
                    return _child(*request)
            elif kind == "wait":
                answer = _wait(*request)
            else:
                function, arguments = request
                function(*arguments)
                answer = _require_one_thread()
        except Exception:
            connection.send((False, traceback.format_exc()))
        else:
            connection.send((True, answer))


def _child(function: Callable[..., int | None], arguments: Sequence[Any], stdout: str, stderr: str, folder: str) -> int:
    os.setsid()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for path, flags, descriptor in (
        (os.devnull, os.O_RDONLY, 0),
        (stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 1),
        (stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 2),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    return function(*arguments) or 0


def _wait(pid: int, timeout_seconds: float) -> int | None:
    descriptor = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], timeout_seconds)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if ended else None


def _require_one_thread() -> None:
    num_threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number
    if num_threads != 1:
        raise RuntimeError(f"the server runs {num_threads} threads; what it forks could wait for ever")


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    _require_one_thread()
    sys.exit(_serve(Connection(int(sys.argv[1]))))
