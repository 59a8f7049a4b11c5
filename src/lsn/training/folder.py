"""The folder of a run: one process trains in it, none that holds a run is overwritten, and its first files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

from lsn.config import to_yaml
from lsn.config.json_files import RECIPE_NAME
from lsn.distributed import World
from lsn.errors import ConfigError, FolderInUseError, WeightsError
from lsn.files import held_lock, write_text
from lsn.training.checkpoints.file import CHECKPOINT_NAME, kept_checkpoints, read_checkpoint
from lsn.training.run import Run
from lsn.training.tracking import METRICS_NAME, Tracker

logger = logging.getLogger(__name__)

_START_FILES = (RECIPE_NAME, CHECKPOINT_NAME, METRICS_NAME)
"""Those that a run has before its first step."""
_RUN_FILES = (*_START_FILES, "config.json", "model.safetensors", "evaluation.json")


@contextmanager
def claimed_folder(out: Path, world: World, *, resume: bool | Literal["auto"]) -> Iterator[bool]:
    """Makes the folder of a run, and keeps other runs out of it while the block runs; yields whether it is resumed.

    With "auto" it is if the folder holds a run that has made a step, as the first process sees it. A folder that is
    empty at the end, because the run could not be set up, is removed again.

    Raises:
        ConfigError: in all processes: it is no folder, another process trains in it, or it holds a run that would be
            overwritten.
        OSError: in all processes: it cannot be made.
    """
    with ExitStack() as stack:
        with world.errors_on_all_ranks():
            if world.is_main:
                stack.enter_context(_claimed(out))
                if resume == "auto":
                    resume = bool(kept_checkpoints(out)) and not is_unstarted(out)
                if not resume:
                    refuse_to_overwrite(out)
        yield bool(world.gather([resume])[0])


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; --out must be a folder")
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with held_lock(out) as is_held:
            if not is_held:
                raise FolderInUseError(
                    f"{out}: another process trains in this folder; wait until it has ended, or choose another --out"
                )
            yield
    finally:
        with suppress(OSError):  # one that is not empty stays
            for folder in made:
                folder.rmdir()


def refuse_to_overwrite(out: Path) -> None:
    """Makes sure that a folder holds no run with anything to lose.

    Raises:
        ConfigError: it does.
    """
    found = [name for name in _RUN_FILES if (out / name).exists()]
    if not found:
        return
    if not is_unstarted(out):
        raise ConfigError(
            f"{out}: already holds a run ({found[0]}); choose another folder with --out, or continue it with "
            "`lsn train ... --resume`"
        )
    logger.warning("%s: holds a run that ended before its first step; it is replaced", out)


def is_unstarted(out: Path) -> bool:
    """Whether a folder holds a run that was set up, but made no step: all that it has can be made again."""
    if any((out / name).exists() for name in _RUN_FILES if name not in _START_FILES):
        return False
    metrics = out / METRICS_NAME
    if metrics.exists() and metrics.stat().st_size > 0:
        return False
    try:
        return kept_checkpoints(out) == [0] and read_checkpoint(out / CHECKPOINT_NAME)["position"].step == 0
    except WeightsError:
        return False


def open_folder(run: Run, *, resumed: bool) -> None:
    """Writes the first files of a run, so that it can be resumed from its start on; all processes must call it.

    Raises:
        TrainingError, OSError: in all processes: a file cannot be written; a new run leaves none.
    """
    try:
        if not resumed:
            run.save()  # before the other files, so that whatever is in the folder can be resumed
            run.finish_saving()
        with run.world.errors_on_all_ranks():
            if run.world.is_main:
                write_text(run.out / RECIPE_NAME, to_yaml(run.config))
                run.tracker = Tracker(
                    run.out,
                    step=run.position.step,
                    validated=run.position.step_in_epoch < run.task.steps_per_epoch,
                    tensorboard=run.config.training.tensorboard,
                )
    except BaseException:
        if not resumed and run.world.is_main:
            run.writer.close()
            _remove_start(run.out)
        raise


def _remove_start(out: Path) -> None:
    """Removes what a run that could not be set up has written."""
    for name in _START_FILES:
        (out / name).unlink(missing_ok=True)
