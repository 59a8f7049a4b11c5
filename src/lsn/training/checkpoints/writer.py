"""Checkpoints on their way to disk, while the training goes on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

logger = logging.getLogger(__name__)


class BackgroundWriter:
    """Writes one thing after the other in a thread of its own. Use `finish` before it is given up."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lsn-checkpoint")
        self._under_way: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Has something written, once what was started before is.

        Raises:
            LSNError: what was started before could not be written.
        """
        self.finish()
        self._under_way = self._thread.submit(write)

    def finish(self) -> None:
        """Waits until all is written.

        Raises:
            LSNError: it could not be; said once.
        """
        if self._under_way is not None:
            try:
                self._under_way.result()
            finally:
                if self._under_way.done():  # and not interrupted
                    self._under_way = None

    def close(self) -> None:
        """Waits for what is under way; that it could not be written is logged, as something else ends the training."""
        try:
            self.finish()
        except Exception as error:
            logger.warning("%s", error)
        finally:
            self._thread.shutdown()


def snapshot(states: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of states on the CPU that a training which goes on does not change."""
    return {name: _copied(state) for name, state in states.items()}


def _copied(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        copied = copy.copy(state)  # PyTorch's have attributes too
        copied.update((key, _copied(value)) for key, value in state.items())
        return copied
    if isinstance(state, list | tuple):
        return type(state)(_copied(value) for value in state)
    return copy.deepcopy(state)
