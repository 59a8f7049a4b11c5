"""`checkpoint.pt`: all that an interrupted run needs to go on as if it had not been interrupted.

Nothing random is stored: the order of the clips, their augmentation and the dropout of a step follow from the seed
and from where the run stands.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import torch

from lsn.config import RunConfig, from_mapping, to_mapping
from lsn.config.old_names import current_keys
from lsn.distributed import World, current_world
from lsn.errors import ConfigError, TrainingError, WeightsError, shown
from lsn.files import atomic_path
from lsn.training.checkpoints.checksum import ChecksumWriter, verify_checksum
from lsn.training.position import Position

logger = logging.getLogger(__name__)

CHECKPOINT_NAME, DAMAGED_NAME = "checkpoint.pt", "checkpoint.damaged.pt"
FORMAT_VERSION = 2
"""What is written; version 1, which has no checksum, is read too."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK)
"""What file systems say that have no hard links."""

# What may change between the parts of a run without changing its result. The clips are compared by their
# fingerprint, so that a data folder may move; what starts the network has done its work.
_FREE_KEYS = frozenset(
    {
        "model.pretrained",
        "model.backbone_weights",
        "model.initial_weights",
        "model.zero_init_memory",
        "data.train",
        "data.val",
        "data.test",
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
        "training.keep_checkpoints",
        "training.tensorboard",
    }
)


def save_checkpoint(
    out: Path,
    *,
    config: RunConfig,
    num_processes: int,
    fingerprint: str,
    position: Position,
    trained_names: list[str],
    states: Mapping[str, Any],
    num_kept: int = 1,
) -> None:
    """Writes `checkpoint.pt`; the one before stays whole until the new one is, and may be kept beside it.

    Args:
        out: The run's folder.
        config: The run's configuration.
        num_processes: Processes that the run began with.
        fingerprint: Of what it trains on.
        position: Where the run stands.
        trained_names: Parameters that started from trained weights.
        states: State dictionaries of the parts by name.
        num_kept: Checkpoints that are kept, this one and those before it: `checkpoint.1.pt` and so on.

    Raises:
        TrainingError: the file cannot be written, as on a full disk.
    """
    saved = {
        "format_version": FORMAT_VERSION,
        "config": to_mapping(config),
        "num_processes": num_processes,
        "clips": fingerprint,
        "position": asdict(position),
        "trained_names": trained_names,
        "states": dict(states),
    }
    path = out / CHECKPOINT_NAME
    try:
        with atomic_path(path) as partial, partial.open("wb") as file:
            writer = ChecksumWriter(file)
            torch.save(saved, cast(IO[bytes], writer))
            writer.finish()
            os.fsync(file.fileno())
            _keep_those_before(out, num_kept)
    except OSError as error:
        raise TrainingError(
            f"{path}: the checkpoint could not be written: {error.strerror or error}; make room, or mend the file "
            "system, and resume: the checkpoint before this one is whole"
        ) from error


def checkpoint_path(out: Path, number: int = 0) -> Path:
    """Of the last checkpoint of a run, or of the one so many before it."""
    return out / (f"checkpoint.{number}.pt" if number else CHECKPOINT_NAME)


def kept_checkpoints(out: Path) -> list[int]:
    """Numbers of the checkpoints of a run, the last one first: there is something to resume from if there are any."""
    numbers = (re.fullmatch(r"checkpoint(?:\.([1-9][0-9]*))?\.pt", path.name) for path in out.glob("checkpoint*.pt"))
    return sorted(int(match[1] or 0) for match in numbers if match)


def load_checkpoint(out: Path, *, config: RunConfig, world: World | None = None) -> dict[str, Any]:
    """Reads the last checkpoint to the CPU, without running code in it, and checks that it belongs to this run.

    One that is damaged gives way to the one before it, which the log says, and is set aside; the run then repeats some
    steps. All processes read the one that the first of them has chosen.

    Returns:
        `position` (a `Position`), `num_processes`, `clips`, `trained_names` and `states`, as they were saved.

    Raises:
        ConfigError: there is nothing to resume, or the run was started with other settings.
        WeightsError: all are damaged, hold code, or are of another version; or the processes see different files.
        OSError: a file cannot be read.
    """
    world, path, saved = world or current_world(), checkpoint_path(out), None
    with world.errors_on_all_ranks():
        if world.is_main:
            saved = _last_sound(out)
            _require_same(path, _what_matters(saved["config"]), config)
    with world.errors_on_all_ranks():
        if saved is None:
            saved = read_checkpoint(path)
    assert saved is not None
    if len(set(world.gather([saved["position"].step]))) > 1:
        raise WeightsError(f"{path}: differs from process to process; --out must be a folder that all machines share")
    return saved


def _last_sound(out: Path) -> dict[str, Any]:
    """The last checkpoint that can be read, which then has the name of the last one.

    Raises:
        ConfigError: there is none.
        WeightsError: of the last one; none can be read.
    """
    errors: list[WeightsError] = []
    for number in kept_checkpoints(out):
        path = checkpoint_path(out, number)
        try:
            saved = read_checkpoint(path)
        except WeightsError as error:
            errors.append(error)
            continue
        if number:
            reason = str(errors[0]) if errors else f"{out}: there is no {CHECKPOINT_NAME}"
            logger.warning("%s. Resumed from %s, after step %d", reason, path.name, saved["position"].step)
            if checkpoint_path(out).exists():
                checkpoint_path(out).replace(out / DAMAGED_NAME)
            path.replace(checkpoint_path(out))
        return saved
    if errors:
        raise errors[0]
    raise ConfigError(f"{out}: there is no {CHECKPOINT_NAME} to resume; start the run without --resume")


def _keep_those_before(out: Path, num_kept: int) -> None:
    """Moves older checkpoints one back; the last one keeps its own name too, until the new one takes it."""
    for number in range(num_kept - 1, 1, -1):
        if (older := checkpoint_path(out, number - 1)).exists():
            older.replace(checkpoint_path(out, number))
    if num_kept > 1 and checkpoint_path(out).exists():
        link = out / ".checkpoint.before.partial"
        link.unlink(missing_ok=True)
        try:
            link.hardlink_to(checkpoint_path(out))
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(checkpoint_path(out), link)
        link.replace(checkpoint_path(out, 1))
    for number in kept_checkpoints(out):
        if number >= num_kept and number > 0:
            checkpoint_path(out, number).unlink()


def require_same_clips(out: Path, saved: Mapping[str, Any], fingerprint: str) -> None:
    """Makes sure that a run learns what it began with.

    Raises:
        ConfigError: its training set is another.
    """
    if saved["clips"] != fingerprint:
        raise ConfigError(
            f"{out / CHECKPOINT_NAME}: the training set is not that which the run started with; "
            "give it the same manifest, or start a new run with another --out"
        )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to the CPU, without running code in it.

    Returns:
        What `save_checkpoint` was given, by name, with `config` as plain data and a digest of the clips as `clips`.

    Raises:
        WeightsError: it is damaged, holds code, or is of another version.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            has_checksum = verify_checksum(file)
        except ValueError as error:
            raise damaged(path, error) from error
        file.seek(0)
        try:
            saved = torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # torch's reader raises almost anything where a file is damaged
            raise damaged(path, error) from error
    version = saved.get("format_version") if isinstance(saved, dict) else None
    if version not in (1, FORMAT_VERSION):
        raise WeightsError(
            f"{path}: format version {shown(version)}, but this LSN reads versions 1 and {FORMAT_VERSION}; "
            "resume with the LSN that wrote it"
        )
    try:
        if version > 1 and not has_checksum:
            raise ValueError("its checksum is missing")
        return saved | _typed(saved)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> WeightsError:
    """The error for a checkpoint in which something else was found than what a run writes."""
    reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
    return WeightsError(
        f"{path}: not a checkpoint of LSN, or damaged: {reason}; restore it from a copy, or start a new run"
    )


_KINDS = {"config": dict, "num_processes": int, "clips": str, "position": dict, "trained_names": list, "states": dict}


def _typed(saved: dict[str, Any]) -> dict[str, Any]:
    """The parts of a checkpoint, having made sure of their types.

    Raises:
        ConfigError, KeyError, TypeError, ValueError: one is missing or of another type.
    """
    for name, kind in _KINDS.items():
        if not isinstance(saved[name], kind):
            raise TypeError(f"{name} is {shown(saved[name])}")
    parts = [*saved["config"].values(), *saved["states"].values()]
    if not all(isinstance(part, dict) for part in parts):
        raise TypeError("a section of the config, or a state, is no mapping")
    if not all(isinstance(name, str) for name in saved["trained_names"]):
        raise TypeError(f"trained_names is {shown(saved['trained_names'])}")
    position = from_mapping(Position, _current_position(saved["position"]), "position")
    if min(position.epoch, position.step_in_epoch, position.step) < 0:
        raise ValueError(f"position is {shown(saved['position'])}")
    return {"position": position}


def _current_position(position: dict[str, Any]) -> dict[str, Any]:
    """A position by the names of this version; up to 0.4.0 runs knew clips alone."""
    best, tally = position["best"], position["tally"]
    if best is not None and "top1" in best:
        best = {"score": best["top1"], "tie_break": -best["loss"], "epoch": best["epoch"]}
    if "clips" in tally:
        tally = {**tally, "weight": tally["clips"], "items": tally["clips"]}
        del tally["clips"]
    return {**position, "best": best, "tally": tally}


def _require_same(path: Path, before: dict[str, Any], config: RunConfig) -> None:
    now = _what_matters(to_mapping(config))
    # A key that is younger than the checkpoint: the run did what is its default, as new keys come with the default that
    # keeps what was. A default may change for keys that every checkpoint holds, as all that matter of 0.1.0 do.
    before = _what_matters(to_mapping(RunConfig())) | before
    changes = [f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in now if before.get(key) != now[key]]
    if changes:
        raise ConfigError(
            f"{path}: the run was started with other settings: {'; '.join(changes)}; "
            "resume with the same, which recipe.yaml in the run's folder holds, or start a new run with another --out"
        )


def _what_matters(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide the result, by dotted name."""
    known = to_mapping(RunConfig())
    flat = {
        f"{section}.{key}": value
        for section, values in config.items()
        for key, value in current_keys(values, known.get(section, ())).items()
    }
    return {key: value for key, value in flat.items() if key not in _FREE_KEYS}
