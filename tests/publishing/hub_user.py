"""Somebody who uses a Hub: commands in fresh processes, with an account and a cache of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub_server import OWNER_TOKEN
from warm_server import WarmServer


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        assert self.code == 2, self.err
        return " ".join(self.err.split())


@dataclass
class HubUser:
    """Runs commands and Python in a folder where nothing of what was trained is."""

    server: WarmServer
    hub: str
    folder: Path
    token: str = OWNER_TOKEN
    is_offline: bool = False

    def lsn(self, *arguments: object) -> Answer:
        """A command in a process that was forked before it knew any Hub."""
        return self._run(_command, [str(argument) for argument in arguments])

    def python(self, code: str) -> Answer:
        return self._run(_program, code)

    def fresh(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, which is told of the Hub as users tell it."""
        own = {"HF_ENDPOINT": self.hub, "HF_HOME": str(self.folder / "home"), "HF_TOKEN": self.token}
        return subprocess.run(
            [sys.executable, "-m", "lsn", *map(str, arguments)],
            env=os.environ | own | {"HF_HUB_DISABLE_XET": "1"} | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def _run(self, function: Callable[..., None], what: Any) -> Answer:
        stdout, stderr = self.folder / "stdout", self.folder / "stderr"
        constants = {
            "ENDPOINT": self.hub,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.hub + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(self.folder / "cache"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": self.is_offline,
        }
        pid = self.server.start(function, constants, self.token, what, stdout=stdout, stderr=stderr, folder=self.folder)
        code = self.server.wait(pid, timeout_seconds=120)
        assert code is not None, "it hangs"
        return Answer(code, stdout.read_text(), stderr.read_text())


def _know(constants: dict[str, Any], token: str) -> None:
    """What environment variables do where a process starts."""
    from huggingface_hub import constants as known

    os.environ["HF_TOKEN"] = token
    for name, value in constants.items():
        assert hasattr(known, name)
        setattr(known, name, value)


def _command(constants: dict[str, Any], token: str, arguments: list[str]) -> None:
    from lsn.cli.app import main

    _know(constants, token)
    _leave(main(arguments))


def _program(constants: dict[str, Any], token: str, code: str) -> None:
    _know(constants, token)
    exec(code, {})
    _leave(0)


def _leave(code: int) -> None:
    """Ends the process at once; tidying up all of PyTorch takes two seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
