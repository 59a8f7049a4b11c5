"""What a run learns, as the loop sees it: where the forward passes of its steps come from, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from lsn.models import Recognizer
from lsn.training.step import Pass


@dataclass(frozen=True)
class LoadedStep:
    """What a process has read for one update of the weights."""

    passes: Sequence[Pass]
    """Its forward passes."""
    num_items: int
    """Items planned for the step, over all passes and processes; fewer may have been readable."""
    frames_BTCHW: Tensor
    """Frames of a pass, in which dead units are looked for; B is 0 if none could be read."""
    unreadable: Sequence[tuple[str, str]] = ()
    """Path and error of what this process could not read."""


class Validation(Protocol):
    """How good a network is."""

    @property
    def score(self) -> float:
        """What the best epoch is chosen by, 0 to 1."""

    @property
    def tie_break(self) -> float:
        """What decides between epochs of the same score; larger is better."""

    def describe(self) -> str:
        """The score and what else people look at, in one line."""

    def record(self) -> dict[str, Any]:
        """All that was measured, as plain data for `metrics.jsonl`."""

    def save(self, folder: Path) -> None:
        """Writes what was found to files, with all details."""

    def keep(self, folder: Path, model: Recognizer, *, epoch: int) -> None:
        """Writes a weights folder of the network that was judged, with what was found."""


class Task(Protocol):
    """What a run learns."""

    unit: str
    """What is counted, in the plural: clips or frames."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def fingerprint(self) -> str:
        """A digest of what is trained on, that outlives moving the data."""

    @property
    def guessing_loss(self) -> float:
        """Loss of the best answer that does not depend on what is seen."""

    @property
    def steps_per_epoch(self) -> int:
        """Updates of the weights in an epoch."""

    @property
    def clips_per_step(self) -> int:
        """Clips or streams behind one update, which the learning rate follows."""

    def prepare(self, model: Recognizer) -> None:
        """Gets ready to read for a network, and to judge it; called once, before anything is read."""

    def describe(self) -> list[str]:
        """Lines that say what is trained on, and what an epoch is."""

    def read(self, epoch: int, first_step: int) -> Generator[LoadedStep, None, None]:
        """What this process reads for the steps of an epoch, from one on; close it to end its workers.

        Raises:
            LSNError: something cannot be read.
        """

    def end_epoch(self) -> None:
        """All steps of an epoch are done; called by all processes."""

    def parts(self) -> Mapping[str, Any]:
        """What a checkpoint keeps, by name: objects with `state_dict` and `load_state_dict`."""

    def validate(self, model: Recognizer, progress: Callable[[int, int], None]) -> Validation:
        """Judges a network on the validation set; called by all processes, and the same on each.

        Args:
            model: The network.
            progress: Called with the videos done and their number.
        """

    @property
    def has_test(self) -> bool:
        """Whether there is a test set."""

    def test(self, folder: Path, progress: Callable[[int, int], None]) -> Validation:
        """Judges the weights in a folder on the test set, likewise."""
