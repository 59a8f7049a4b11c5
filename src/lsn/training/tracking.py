"""What a run reports: `metrics.jsonl`, TensorBoard, and whoever watches its progress."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lsn.errors import ConfigError, DataError
from lsn.files import errors_naming, read_text, write_text
from lsn.parsing import parse_json
from lsn.training.task import Validation

METRICS_NAME = "metrics.jsonl"


@dataclass(frozen=True)
class StepReport:
    """How training stands after a step; averages are over the items since the last line of metrics."""

    step: int
    """Steps done."""
    num_steps: int
    """Steps of the whole run."""
    epoch: float
    """Epochs done, with the fraction of the current one."""
    num_epochs: int
    """Epochs of the whole run."""
    loss: float
    """Mean training loss."""
    top1: float
    """Share of the training clips, or of the frames as they count, that are classified correctly."""
    learning_rate: float
    """Rate of this step for trained layers."""
    items_per_second: float
    """Speed of training over all processes."""
    unit: str
    """What is counted, in the plural: clips or frames."""
    seconds_left: float
    """Estimated time to the end of the run."""


class Progress(Protocol):
    """Watches a run. Called in the main process only."""

    def on_start(self, lines: Sequence[str]) -> None:
        """The run begins; the lines say what is trained, on what, from where."""

    def on_step(self, report: StepReport) -> None:
        """A step is done."""

    def on_evaluation(self, done: int, total: int) -> None:
        """`done` of `total` validation videos are evaluated."""

    def on_evaluated(self, epoch: int, validation: Validation, is_best: bool) -> None:
        """The validation after `epoch` epochs is done."""


class Tracker:
    """Appends to `metrics.jsonl`, and to TensorBoard if asked.

    Args:
        out: The run's folder.
        step: Where the run stands; lines beyond it, left by an interrupted part, are dropped.
        validated: Whether a validation after this step belongs to where the run stands, and is not to be repeated.
        tensorboard: Write events too.

    Raises:
        ConfigError: TensorBoard is asked for and not installed.
        DataError: the metrics of the run that is resumed are damaged.
    """

    def __init__(self, out: Path, *, step: int, validated: bool, tensorboard: bool) -> None:
        self.path = out / METRICS_NAME
        kept = [line for line in self._read() if line["step"] < step + (validated or line["kind"] != "val")]
        write_text(self.path, "".join(f"{json.dumps(line)}\n" for line in kept))
        self._listed = {line["path"] for line in kept if line["kind"] == "unreadable"}
        self._events: Any = None
        if tensorboard:
            self._events = require_tensorboard()(str(out / "tensorboard"), purge_step=step + 1)

    def log(self, kind: str, *, epoch: float, step: int, **values: Any) -> None:
        """Writes one line, and the numbers of it to TensorBoard."""
        line = {"kind": kind, "epoch": epoch, "step": step, **values}
        with errors_naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
        if self._events is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(f"{kind}/{name}", value, step)

    def log_unreadable(self, path: str, error: str, *, epoch: float, step: int) -> None:
        """Lists a training clip that was left out, once."""
        if path not in self._listed:
            self._listed.add(path)
            self.log("unreadable", epoch=epoch, step=step, path=path, error=error)

    def close(self) -> None:
        """Flushes the events."""
        if self._events is not None:
            self._events.close()

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        # A killed run may leave half a line at the end.
        whole, _, _ = read_text(self.path, "file of metrics", error=DataError).rpartition("\n")
        return [self._parse(number, line) for number, line in enumerate(whole.splitlines(), start=1)]

    def _parse(self, number: int, line: str) -> dict[str, Any]:
        try:
            found = parse_json(line)
            is_ours = isinstance(found["step"], int) and isinstance(found["kind"], str)
            if is_ours and (found["kind"] != "unreadable" or isinstance(found["path"], str)):
                return found
        except (ValueError, KeyError, TypeError):
            pass
        raise DataError(
            f"{self.path} line {number}: not a line of metrics, so the file is damaged; restore it from a copy, or "
            "remove the line"
        )


def require_tensorboard() -> type[Any]:
    """What writes TensorBoard's events.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "training.tensorboard is on, but TensorBoard is not installed; pip install 'lsn-video[tb]'"
        ) from None
    return SummaryWriter
