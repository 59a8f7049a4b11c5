"""What the folders of a run hold: everything that is there, and a remark for each thing that is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsn.config import RunConfig, load_config
from lsn.config.json_files import RECIPE_NAME
from lsn.errors import ConfigError, DataError, LSNError
from lsn.evaluation.result import EvaluationResult, load_evaluation
from lsn.streaming.timeline_evaluation import TimelineEvaluation
from lsn.streaming.timeline_results import METRICS_NAME as TIMELINES_NAME
from lsn.streaming.timeline_results import load_timelines


@dataclass(frozen=True)
class Run:
    """A run, read. What is missing is empty or None and reported in `remarks`."""

    folder: Path
    """Of the evaluation, and where the report goes."""
    weights_folder: Path
    """Of the weights and how they were trained; the same folder unless the evaluation was a test of its own."""
    config: RunConfig | None = None
    recipe: str = ""
    """Text of recipe.yaml."""
    weights: dict[str, Any] = field(default_factory=dict)
    """Content of config.json."""
    train: Sequence[dict[str, Any]] = ()
    """Lines of metrics.jsonl about training."""
    val: Sequence[dict[str, Any]] = ()
    """Lines of metrics.jsonl about validation."""
    warnings: Sequence[tuple[float, str]] = ()
    """Epoch and text of each warning that training gave."""
    evaluation: EvaluationResult | None = None
    """Of the weights, on clips."""
    events: TimelineEvaluation | None = None
    """The same on long videos."""
    unreadable: Sequence[tuple[str, str, str]] = ()
    """What each clip was left out of ("training", "evaluation"), its path and the error."""
    remarks: Sequence[str] = ()

    @property
    def model_name(self) -> str:
        """Name of the network, or of the folder if nothing says it."""
        if self.config is not None:
            return self.config.model.name
        return str(self.weights.get("model", {}).get("name", self.weights_folder.name))


def read_run(folder: Path, weights_folder: Path) -> Run:
    """Reads a run.

    Args:
        folder: holds the evaluation.
        weights_folder: holds the weights, their recipe and the course of their training.

    Raises:
        LSNError: a folder does not exist, or nothing of a run is in them.
    """
    for path in (folder, weights_folder):
        if not path.is_dir():
            raise LSNError(f"{path}: no such run folder; expected the folder that `lsn train` wrote")
    remarks: list[str] = []
    config, evaluation, events = None, None, None
    try:
        config = load_config(weights_folder / RECIPE_NAME)
    except ConfigError as error:
        remarks.append(f"The recipe is not known: {error}")
    try:
        if (folder / TIMELINES_NAME).exists():
            events = load_timelines(folder)
        else:
            evaluation = load_evaluation(folder)
    except DataError as error:
        remarks.append(f"The weights have no evaluation: {error}")
    records = _read_records(weights_folder / "metrics.jsonl", remarks)
    if config is None and evaluation is None and events is None and not records:
        raise LSNError(f"{folder}: nothing of a run is in it; expected recipe.yaml, metrics.jsonl or evaluation.json")
    found = evaluation or events
    left_out = [("training", str(r.get("path")), str(r.get("error"))) for r in records if r.get("kind") == "unreadable"]
    return Run(
        folder=folder,
        weights_folder=weights_folder,
        config=config,
        recipe=_read_text(weights_folder / RECIPE_NAME),
        weights=_read_json(weights_folder / "config.json", remarks),
        train=[record for record in records if record.get("kind") == "train"],
        val=[record for record in records if record.get("kind") == "val"],
        warnings=[
            (record["epoch"], record["text"])
            for record in records
            if record.get("kind") == "warning" and isinstance(record.get("epoch"), int | float) and "text" in record
        ],
        evaluation=evaluation,
        events=events,
        unreadable=left_out + [("evaluation", *entry) for entry in (found.unreadable if found else ())],
        remarks=remarks,
    )


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _read_json(path: Path, remarks: list[str]) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        remarks.append(f"The weights are not described: {path.name} is not in {path.parent}.")
    except (OSError, ValueError, TypeError) as error:
        remarks.append(f"The weights are not described: {path.name} is not readable ({error}).")
    return {}


def _read_records(path: Path, remarks: list[str]) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; a line cut off by a crash is left out and said."""
    if not path.is_file():
        remarks.append(f"The course of training is not known: {path.name} is not in {path.parent}.")
    records, broken = [], 0
    for line in _read_text(path).splitlines():
        try:
            records.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            broken += 1
    if broken:
        remarks.append(f"{path.name}: {broken} of {broken + len(records)} lines are not readable and left out.")
    return records
