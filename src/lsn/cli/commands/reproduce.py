"""`lsn reproduce`: a whole table of results, beside the published one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.cli.commands.folds import check_seeds, read_folds
from lsn.cli.runs import PlannedRun, run_all
from lsn.cli.ui.console import columns, is_main_process, output
from lsn.config import RunConfig, load_config
from lsn.config.recipes import find_recipe
from lsn.config.recipes.tables import TABLES, Row, Table, find_table
from lsn.errors import ConfigError, DataError
from lsn.remote import is_address

if TYPE_CHECKING:
    from lsn.report.table import TableRow
    from lsn.training.cross_validation import FoldRun


def reproduce(
    table: str | None = None,
    /,
    *rows: str,
    seeds: int = 1,
    out: Path = Path("runs/tables"),
    into: Path | None = None,
) -> None:
    """Train and test the models of a published table.

    The results are printed beside the published figures. Without a table, the tables and their rows are listed. Runs
    that are finished are not repeated, others resume where they were stopped. Rows that were finished before, with
    the same settings, are in the table too. On several GPUs:
    torchrun --nproc-per-node 8 -m lsn reproduce ...

    Parameters
    ----------
    table
        Name of the table.
    rows
        Rows to train, by default all; and changes to every recipe, such as data.train=videos/train.csv. Those that
        say which clips are for the rows, not for what they start from.
    seeds
        Runs per row, with seeds 0, 1, ...; the table then has their mean and range.
    out
        Where the runs go, one folder a table, row and seed.
    into
        Also put the table into this Markdown page, between <!-- table: NAME --> and <!-- end: NAME -->.
    """
    if table is None:
        _list_tables()
        return
    check_seeds(seeds)
    chosen = find_table(table)
    overrides = [token for token in rows if "=" in token]
    for token in overrides:
        if (key := token.partition("=")[0]) in _OF_THE_ROWS:
            raise ConfigError(f"{key} is what the rows of a table differ in; {_OF_THE_ROWS[key]}")
    wanted = chosen.choose([token for token in rows if "=" not in token])
    runs = {row.name: _plan_seeds(row, chosen, overrides, out / table, seeds) for row in chosen.rows}
    for row in wanted:
        _check_data(chosen, row, runs[row.name][0])
    if into is not None and is_main_process():
        from lsn.report.table import check_place

        check_place(into, table)
    plans = {row.name: _expanded(row, runs[row.name], chosen.num_folds) for row in wanted}
    run_all([run for plan in plans.values() for run in plan.runs])
    if is_main_process():
        shown = [plans.get(row.name) or _finished_before(row, runs[row.name], chosen.num_folds) for row in chosen.rows]
        _finish(table, chosen, [plan for plan in shown if plan], out / table, into)


def _list_tables() -> None:
    listed = columns("Table", "What it compares", "Rows")
    for name, table in TABLES.items():
        listed.add_row(name, table.title, ", ".join(row.name for row in table.rows))
    output().print(listed)


_OF_THE_ROWS = {"model.name": "train another model with `lsn train`", "training.seed": "--seeds says how many"}
_WHICH_CLIPS = {
    f"data.{key}"
    for key in ("train", "val", "test", "val_fraction", "clips_per_class", "root", "labels", "group_column")
}
_WHOLE_START = "model.initial_weights"
_CNN_STARTS = {"model.pretrained", "model.backbone_weights"}


def _plan_seeds(row: Row, table: Table, overrides: Sequence[str], out: Path, seeds: int) -> list[PlannedRun]:
    """What each seed of a row trains.

    Where rows differ in what they start from, `model.initial_weights` is for those that would train their start.
    """
    if not row.start and any(other.start for other in table.rows):
        overrides = [override for override in overrides if _key(override) != _WHOLE_START]
    return [_plan(row, overrides, out, seed) for seed in range(seeds)]


def _plan(row: Row, overrides: Sequence[str], out: Path, seed: int) -> PlannedRun:
    """What one seed of a row trains, and before it what it starts from, which has clips of its own.

    A start has the seed of the row, or is what `model.initial_weights` names. A row that begins with random weights, or
    with those of a start, is not given weights of a CNN.
    """
    start, mine = None, list(overrides)
    own = load_config(find_recipe(row.recipe), row.overrides).model
    if row.start or not (own.pretrained or own.backbone_weights):
        mine = [override for override in overrides if _key(override) not in _CNN_STARTS]
    if row.start and _WHOLE_START not in map(_key, overrides):
        theirs = [override for override in overrides if _key(override) not in _WHICH_CLIPS]
        start = _plan(row.start, theirs, out, seed)
        mine.append(f"{_WHOLE_START}={start.folder}")
    config = load_config(find_recipe(row.recipe), (*row.overrides, *mine, f"training.seed={seed}"))
    if row.is_probe:
        from lsn.training.linear_probe import frame_model

        config = replace(config, model=frame_model(config.model))
    folder = out / row.name.replace(" ", "_") / f"seed{seed}"
    return PlannedRun(row.name, config, folder, start, is_probe=row.is_probe)


@dataclass(frozen=True)
class _RowPlan:
    """All trainings of a row."""

    row: Row
    config: RunConfig
    """Of the first seed."""
    runs: tuple[PlannedRun, ...]
    folds: tuple[FoldRun, ...]
    """In cross-validation: what each of the runs tests."""

    def row_of_table(self) -> TableRow:
        """What the finished runs found."""
        from lsn.evaluation.result import load_evaluation
        from lsn.report.table import TableRow, protocol_of

        if self.config.data.kind == "timelines":
            return self._row_of_events()
        if self.folds:
            found = read_folds(self.folds)
            results, interval = [found.of_seed(seed) for seed in found.seeds], found.interval
            worst = found.worst_group()
        else:
            results, interval, worst = [load_evaluation(run.folder) for run in self.runs], None, None
        return TableRow(
            self.row.name,
            self.config.model.name,
            protocol_of(self.config),
            self.row.published,
            tuple(round(100 * result.metrics.top1, 2) for result in results),
            results[0].metrics.num_videos,
            interval=None if interval is None else (100 * interval[0], 100 * interval[1]),
            worst_group=None if worst is None else 100 * worst.accuracy,
        )

    def _row_of_events(self) -> TableRow:
        from lsn.report.table import TableRow, protocol_of
        from lsn.streaming.timeline_results import load_timelines
        from lsn.training.loop import TEST_NAME

        folders = [run.folder / TEST_NAME if run.config.data.test else run.folder for run in self.runs]
        found = [load_timelines(folder).metrics for folder in folders]
        return TableRow(
            self.row.name,
            self.config.model.name,
            protocol_of(self.config),
            self.row.published,
            tuple(round(100 * metrics.f1["25"], 2) for metrics in found),
            found[0].num_videos,
            has_events=True,
        )


def _expanded(row: Row, runs: Sequence[PlannedRun], num_folds: int) -> _RowPlan:
    """The trainings of a row, in cross-validation one for each fold of each seed."""
    if not num_folds:
        return _RowPlan(row, runs[0].config, tuple(runs), ())
    from lsn.training.cross_validation import plan_folds

    folds = [
        (fold, run)
        for run in runs
        for fold in plan_folds(run.config, run.folder.parent, num_folds=num_folds, seeds=[run.config.training.seed])
    ]
    planned = [
        replace(run, name=f"{row.name}, fold {fold.fold + 1} of {num_folds}", config=fold.config, folder=fold.folder)
        for fold, run in folds
    ]
    return _RowPlan(row, runs[0].config, tuple(planned), tuple(fold for fold, _ in folds))


def _finished_before(row: Row, runs: Sequence[PlannedRun], num_folds: int) -> _RowPlan | None:
    """The trainings of a row that nobody asked for, if all are finished with the same settings and clips."""
    if not runs[0].folder.parent.is_dir():
        return None
    try:
        plan = _expanded(row, runs, num_folds)
    except ConfigError:  # it has other folds
        return None
    return plan if all(run.is_done() for run in plan.runs) else None


def _key(override: str) -> str:
    return override.partition("=")[0]


def _check_data(table: Table, row: Row, plan: PlannedRun) -> None:
    """Refuses before hours of training what would fail after them."""
    data = plan.config.data
    for path in (data.train, data.val, data.labels):
        if path is not None and not (path is not data.labels and is_address(path)) and not Path(path).exists():
            home = next((each for each in TABLES.values() if row.recipe in {one.recipe for one in each.rows}), table)
            raise DataError(f"{row.name}: {path} is not there. {home.way_to_data}")
    if row.start and plan.start:
        _check_data(table, row.start, plan.start)


def _finish(name: str, table: Table, plans: Sequence[_RowPlan], folder: Path, into: Path | None) -> None:
    from lsn.report.table import cells, describe_protocol, put_into, write_table

    rows = [plan.row_of_table() for plan in plans]
    header, *lines = cells(rows)
    shown = columns(*header, right=("Published", "Top-1", "Difference"))
    for line in lines:
        shown.add_row(*line)
    seeds = len(rows[0].scores)
    videos = " and ".join(str(number) for number in dict.fromkeys(row.num_videos for row in rows))
    notes = [
        f"{videos} videos; {seeds} seed{'s, mean (range)' if seeds > 1 else ''}. "
        + describe_protocol(plans[-1].config, num_folds=table.num_folds)
    ]
    if table.source:
        notes.append(f"Published: {table.source}")
    console = output()
    console.print(shown)
    console.print("\n".join(notes))
    text = write_table(folder, table.title, rows, notes)
    console.print(f"\nTable    {folder / 'table.md'}")
    if into is not None:
        put_into(into, name, text)
        console.print(f"Put into {into}")
