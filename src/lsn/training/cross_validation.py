"""Cross-validation: the runs that test every clip once, by a model that has never seen its group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lsn.config import DataConfig, RunConfig
from lsn.data import Manifest, assign_folds, check_manifest, fold_splits, parse_manifest, raise_on_errors, read_manifest
from lsn.data.clips.labels import read_labels
from lsn.data.clips.writing import GROUP_COLUMN, write_labels, write_manifest
from lsn.errors import ConfigError
from lsn.training.loop import TEST_NAME

FOLDS_NAME = "folds"
"""Folder of the clips of each fold."""
LABELS_NAME = "labels.json"


@dataclass(frozen=True)
class FoldRun:
    """The training that tests one fold."""

    seed: int
    fold: int
    config: RunConfig
    folder: Path

    @property
    def tested(self) -> Path:
        """Folder of the evaluation on the clips of the fold, once it is there."""
        return self.folder / TEST_NAME if self.config.data.test is not None else self.folder


def plan_folds(config: RunConfig, out: str | Path, *, num_folds: int, seeds: Sequence[int]) -> list[FoldRun]:
    """Splits the clips of a run into folds, once for all seeds, and plans a training for each fold and seed.

    The clips are those of `data.train` and, if it is given, of `data.val`. Under `training.keep: last` all other folds
    are trained on, and the last epoch is tested. Under `best` some of their groups are set aside (`data.val_fraction`)
    to choose the epoch by. Either way the tested clips choose nothing.

    Args:
        config: The run; its seed is replaced.
        out: Folder of the runs. The clips of each fold are written into `folds` in it.
        num_folds: How many folds.
        seeds: Of the trainings.

    Raises:
        ConfigError: the folder has other folds, or the run has a test set of its own.
        DataError: the clips are not sound, or cannot be split so.
    """
    config.require_clips("cross-validation (--folds)")
    if config.data.test is not None:
        raise ConfigError(
            f"data.test is {config.data.test}, but in cross-validation every clip is tested; leave it out"
        )
    out = Path(out)
    clips = _all_clips(config.data)
    folds = assign_folds(clips, num_folds)
    folder = out / FOLDS_NAME
    _write_folds(folder, clips, folds, num_folds)
    runs = []
    for seed in seeds:
        for fold in range(num_folds):
            train, test = str(folder / f"{fold}_train.csv"), str(folder / f"{fold}_test.csv")
            chooses = config.training.keep == "best"
            data = replace(
                config.data,
                train=train,
                val=None if chooses else test,
                test=test if chooses else None,
                root=None,
                labels=str(folder / LABELS_NAME),
                group_column=GROUP_COLUMN,
            )
            training = replace(config.training, seed=seed)
            if not chooses:  # the validation clips are those that are tested
                training = replace(training, evaluate_every=training.epochs, calibrate=False)
            run = replace(config, data=data, training=training)
            runs.append(FoldRun(seed, fold, run, out / f"seed{seed}" / f"fold{fold}"))
    return runs


def _all_clips(data: DataConfig) -> Manifest:
    """The clips of train and val together."""
    clips, problems = parse_manifest(data.train, root=data.root, labels=data.labels, group_column=data.group_column)
    if data.val is not None:
        labels = data.labels or clips.labels
        val, more = parse_manifest(data.val, root=data.root, labels=labels, group_column=data.group_column)
        clips, problems = replace(clips, clips=clips.clips + val.clips), problems + more
    raise_on_errors(problems + check_manifest(clips))
    return clips


def _write_folds(folder: Path, clips: Manifest, folds: Sequence[int], num_folds: int) -> None:
    """Writes the labels and the clips of each fold; the same may be there."""
    labels = folder / LABELS_NAME
    if labels.exists():
        _require_same(labels, read_labels(labels) == clips.labels, folder)
    else:
        write_labels(labels, clips)
    for fold in range(num_folds):
        for name, split in zip(("train", "test"), fold_splits(clips, folds, fold), strict=True):
            path = folder / f"{fold}_{name}.csv"
            if path.exists():
                there = read_manifest(path, labels=clips.labels, group_column=GROUP_COLUMN)
                _require_same(path, _rows(there) == _rows(split), folder)
            else:
                write_manifest(path, split)


def _require_same(path: Path, is_same: bool, folder: Path) -> None:
    if not is_same:
        what = "labels" if path.name == LABELS_NAME else "clips"
        raise ConfigError(
            f"{path}: holds other {what} than this cross-validation has; choose another --out, or delete {folder}"
        )


def _rows(manifest: Manifest) -> list[tuple[object, ...]]:
    return [(clip.file, clip.label, clip.group, clip.window) for clip in manifest.clips]
