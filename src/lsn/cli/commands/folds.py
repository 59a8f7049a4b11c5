"""`lsn train --folds`: cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.cli.runs import PlannedRun, run_all
from lsn.cli.ui.console import bar, columns, is_main_process, output, percent
from lsn.config import RunConfig
from lsn.config.json_files import RECIPE_NAME
from lsn.errors import ConfigError

if TYPE_CHECKING:
    from lsn.evaluation.cross_validation import CrossValidation
    from lsn.training.cross_validation import FoldRun

MAX_SEEDS = 1000
NUM_SHOWN_GROUPS = 10


def cross_validate(config: RunConfig, out: Path, *, num_folds: int, num_seeds: int = 1, is_probe: bool = False) -> None:
    """Trains a model, or fits a linear probe, for each fold and seed, and prints and reports what all of them found.

    Raises:
        LSNError: as of `lsn.training.cross_validation.plan_folds`, and of training.
    """
    check_seeds(num_seeds)
    if (out / RECIPE_NAME).exists():
        raise ConfigError(f"{out}: holds a single run; choose another --out for the cross-validation")
    from lsn.training.cross_validation import plan_folds

    planned = plan_folds(config, out, num_folds=num_folds, seeds=range(num_seeds))
    run_all(
        [
            PlannedRun(f"fold {run.fold + 1} of {num_folds}", run.config, run.folder, is_probe=is_probe)
            for run in planned
        ]
    )
    if is_main_process():
        from lsn.report.cross_validation import write_cross_validation_report

        found = read_folds(planned)
        report = write_cross_validation_report(out, found, config)
        print_cross_validation(found)
        output().print(f"\nEach run  {out}/seed*/fold*\nReport    {report}")


def check_seeds(num_seeds: int) -> None:
    """Refuses numbers of seeds that nobody means.

    Raises:
        ConfigError: the number is out of range.
    """
    if not 1 <= num_seeds <= MAX_SEEDS:
        raise ConfigError(f"--seeds is {num_seeds}; it must be between 1 and {MAX_SEEDS}")


def read_folds(runs: Sequence[FoldRun]) -> CrossValidation:
    """What the finished trainings of all folds found."""
    from lsn.evaluation.cross_validation import CrossValidation
    from lsn.evaluation.result import load_evaluation

    return CrossValidation({(run.seed, run.fold): load_evaluation(run.tested) for run in runs})


def print_cross_validation(found: CrossValidation) -> None:
    """Prints accuracy by seed and fold, and the groups that are recognised worst."""
    from lsn.evaluation.cross_validation import MIN_GROUP_CLIPS

    console = output()
    folds = [f"Fold {fold + 1}" for fold in range(found.num_folds)]
    table = columns("Seed", *folds, "All clips", right=("Seed", *folds, "All clips"))
    for seed in found.seeds:
        cells = [percent(found.results[seed, fold].metrics.top1) for fold in range(found.num_folds)]
        table.add_row(str(seed), *cells, percent(found.of_seed(seed).metrics.top1))
    console.print(table)
    groups = found.groups()
    low, high = found.interval
    console.print(
        f"\nTop-1 {percent(found.top1)}; 95% interval {percent(low)} to {percent(high)}, by bootstrap over "
        f"{len(groups)} {'groups' if found.has_groups else 'clips'}"
    )
    if found.unreadable:
        console.print(f"{len(found.unreadable)} of the clips could not be read; the report says why")
    plain, calibrated = found.together(), found.together(calibrated=True)
    console.print(
        f"Calibration error {percent(plain.metrics.calibration_error)}, at temperatures of the other folds "
        f"{percent(calibrated.metrics.calibration_error)}; area under the risk-coverage curve "
        f"{plain.risk_coverage_area:.4f} and {calibrated.risk_coverage_area:.4f}"
    )
    large = [group for group in groups if group.num_clips >= MIN_GROUP_CLIPS]
    if large:
        worst = columns("Worst groups", "Clips", "Top-1", "", right=("Clips", "Top-1"))
        for group in large[:NUM_SHOWN_GROUPS]:
            worst.add_row(group.name, str(group.num_clips), percent(group.accuracy), bar(group.accuracy))
        console.print(worst)
