"""Work on hostile input in a process of its own, whose time and memory are bounded, and how it ended."""

from __future__ import annotations

import faulthandler
import os
import pickle
import resource
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from warm_server import WarmServer, end_session

GROWTH_BYTES = 1 << 30
SECONDS = 30.0

_OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "out of memory")  # torch's, FFmpeg's and C++'s words


@dataclass(frozen=True)
class Outcome:
    """How a piece of work ended."""

    kind: Literal["ok", "refused", "foreign", "memory", "crashed", "timeout"]
    """It returned; it raised an LSNError, or another error; it ran out of memory, whoever caught that; a signal ended
    it; it took too long."""
    detail: str = ""
    """The type and the message of an LSNError, the traceback of another one, the name of a signal."""
    value: Any = None
    """What it returned."""


class Bounded:
    """Runs functions in forks of a server that has imported LSN; close it, or use it as a context manager.

    Args:
        modules: what the server imports beside LSN's parts.
    """

    def __init__(self, *modules: str) -> None:
        self.server = WarmServer("bounded", "lsn.training", "lsn.report", "lsn.streaming.recorder", "lsn.cli", *modules)
        self.server.prepare(_import_the_rest)
        self._folder = Path(tempfile.mkdtemp())

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        seconds: float = SECONDS,
        growth_bytes: int = GROWTH_BYTES,
    ) -> Outcome:
        """Calls a function in a new process and says how that ended; nothing of it is left running.

        Args:
            function: of a module that can be imported by its name.
            arguments: can be pickled, as can what it returns.
            seconds: how long it may take.
            growth_bytes: by how much its address space may grow.
        """
        result, stderr = self._folder / "result", self._folder / "stderr"
        result.unlink(missing_ok=True)
        pid = self.server.start(
            _call, function, arguments, growth_bytes, result, stdout=Path(os.devnull), stderr=stderr, folder=Path.cwd()
        )
        try:
            code = self.server.wait(pid, seconds)
        finally:
            end_session(pid)
        said = stderr.read_text(encoding="utf-8", errors="replace")
        if code is None:
            self.server.wait(pid, seconds)
            return Outcome("timeout", f"over {seconds:g} s\n{said}")
        if code < 0:
            return Outcome("crashed", f"{signal.Signals(-code).name}\n{said}")
        if code > 0:
            return Outcome("crashed", f"exit code {code}\n{said}")
        return pickle.loads(result.read_bytes())

    def close(self) -> None:
        """Ends the server."""
        self.server.close()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _import_the_rest() -> None:
    """Does what makes PyTorch import its parts for work without numbers."""
    from lsn.models import create_model
    from lsn.models.cost import model_cost

    model = create_model("lsn_test_resnet", num_classes=2, num_frames=2).eval()
    model.init_state(1, 32, 32)
    model_cost(model, height=32, width=32)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], growth_bytes: int, result: Path) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _address_space_bytes() + growth_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    outcome = _outcome(function, arguments)
    result.write_bytes(pickle.dumps(outcome))
    os._exit(0)  # whatever threads the function has left


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    from lsn.errors import LSNError

    try:
        return Outcome("ok", value=function(*arguments))
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        if any(_is_of_memory(each) for each in _chain(error)):
            return Outcome("memory", text)
        if isinstance(error, LSNError):
            return Outcome("refused", f"{type(error).__name__}: {error}")
        return Outcome("foreign", text)


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and all that led to it."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _is_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
