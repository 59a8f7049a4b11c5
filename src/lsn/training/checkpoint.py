"""`checkpoint.pt`: all that an interrupted run needs to go on as if it had not been interrupted.

Nothing random is stored: the order of the clips, their augmentation and the dropout of a step follow from the seed
and from where the run stands.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from lsn.config import RunConfig, to_mapping
from lsn.data import Manifest
from lsn.errors import ConfigError, WeightsError
from lsn.files import atomic_path

CHECKPOINT_NAME = "checkpoint.pt"
RUN_FILES = ("recipe.yaml", CHECKPOINT_NAME, "config.json", "model.safetensors", "metrics.jsonl", "evaluation.json")
FORMAT_VERSION = 1

# What may change between the parts of a run without changing its result. The clips are compared by their
# fingerprint, so that a data folder may move; what starts the network has done its work.
_FREE_KEYS = frozenset(
    {
        "model.pretrained",
        "model.backbone_weights",
        "model.initial_weights",
        "data.train",
        "data.val",
        "data.val_fraction",
        "data.root",
        "data.labels",
        "data.group_column",
        "data.num_workers",
        "evaluation.batch_size",
        "training.device",
        "training.grad_checkpointing",
        "training.compile",
        "training.checkpoint_every",
        "training.tensorboard",
    }
)


@dataclass
class Tally:
    """Sums over clips since the last line of metrics."""

    loss: float = 0.0
    correct: float = 0.0
    clips: float = 0.0
    unreadable: float = 0.0
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Adds another tally to this one."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Best:
    """The best validation so far."""

    top1: float
    loss: float
    epoch: int


@dataclass
class Position:
    """Where a run stands."""

    epoch: int = 0
    """The epoch under way, from 0."""
    step_in_epoch: int = 0
    """Steps of it that are done."""
    step: int = 0
    """Updates of the weights since the start."""
    seconds: float = 0.0
    """Time spent so far."""
    best: Best | None = None
    tally: Tally = field(default_factory=Tally)


def refuse_to_overwrite(out: Path) -> None:
    """Checks that a folder holds no run yet.

    Raises:
        ConfigError: it does, or it is not a folder.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; --out must be a folder")
    found = [name for name in RUN_FILES if (out / name).exists()]
    if found:
        raise ConfigError(
            f"{out}: already holds a run ({found[0]}); pass --resume to go on with it, or another folder with --out"
        )


def save_checkpoint(
    out: Path,
    *,
    config: RunConfig,
    num_processes: int,
    train_set: Manifest,
    position: Position,
    trained_names: list[str],
    states: Mapping[str, Any],
) -> None:
    """Writes `checkpoint.pt`; the one before stays whole until the new one is.

    Args:
        out: The run's folder.
        config: The run's configuration.
        num_processes: Processes that train.
        train_set: The training clips, of which a fingerprint is kept.
        position: Where the run stands.
        trained_names: Parameters that started from trained weights.
        states: State dictionaries of the parts by name.
    """
    saved = {
        "format_version": FORMAT_VERSION,
        "config": to_mapping(config),
        "num_processes": num_processes,
        "clips": _fingerprint(train_set),
        "position": asdict(position),
        "trained_names": trained_names,
        "states": dict(states),
    }
    with atomic_path(out / CHECKPOINT_NAME) as partial:
        torch.save(saved, partial)


def load_checkpoint(out: Path, *, config: RunConfig, num_processes: int, train_set: Manifest) -> dict[str, Any]:
    """Reads `checkpoint.pt` to the CPU, without running code in it, and checks that it belongs to this run.

    Returns:
        `position` (a `Position`), `trained_names` and `states`, as they were saved.

    Raises:
        ConfigError: there is nothing to resume, or the run was started with other settings or clips.
        WeightsError: the file is damaged, holds code, or is of another version.
    """
    path = out / CHECKPOINT_NAME
    if not path.is_file():
        raise ConfigError(f"{out}: there is no {CHECKPOINT_NAME} to resume; start the run without --resume")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: not a checkpoint of LSN, or damaged: {reason}") from error
    version = saved.get("format_version") if isinstance(saved, dict) else None
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: format version {version}, but this LSN reads version {FORMAT_VERSION}; "
            "resume with the LSN that wrote it"
        )
    _require_same(path, _what_matters(saved["config"], saved["num_processes"]), config, num_processes)
    if saved["clips"] != _fingerprint(train_set):
        raise ConfigError(
            f"{path}: the training clips are not those that the run started with; "
            "give it the same manifest, or start a new run with another --out"
        )
    position = saved["position"]
    saved["position"] = Position(
        **position
        | {"tally": Tally(**position["tally"]), "best": Best(**position["best"]) if position["best"] else None}
    )
    return saved


def _require_same(path: Path, before: dict[str, Any], config: RunConfig, num_processes: int) -> None:
    now = _what_matters(to_mapping(config), num_processes)
    # A key that is younger than the checkpoint: the run did what is now its default.
    before = _what_matters(to_mapping(RunConfig()), num_processes) | before
    changes = [f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in now if before.get(key) != now[key]]
    if changes:
        raise ConfigError(
            f"{path}: the run was started with other settings: {'; '.join(changes)}; "
            "resume with the same, or start a new run with another --out"
        )


def _what_matters(config: dict[str, Any], num_processes: int) -> dict[str, Any]:
    """The settings that decide the result, by dotted name."""
    flat = {f"{section}.{key}": value for section, values in config.items() for key, value in values.items()}
    return {key: value for key, value in flat.items() if key not in _FREE_KEYS} | {"processes": num_processes}


def _fingerprint(manifest: Manifest) -> str:
    """A digest of the labels and of the clips in their order, by file name, that outlives moving the data."""
    clips = [
        (Path(c.path).name, c.label, c.start_seconds, c.end_seconds, c.first_frame, c.last_frame)
        for c in manifest.clips
    ]
    return hashlib.sha256(json.dumps([manifest.labels, clips]).encode()).hexdigest()
