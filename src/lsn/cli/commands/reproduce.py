"""`lsn reproduce`: a whole table of results, beside the published one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.cli.commands.train import train_and_report
from lsn.cli.ui.console import columns, is_main_process, output
from lsn.config import RunConfig, load_config
from lsn.config.recipes import find_recipe
from lsn.config.recipes.tables import TABLES, Row, Table, find_table
from lsn.errors import ConfigError, DataError

if TYPE_CHECKING:
    from lsn.report.table import TableRow

MAX_SEEDS = 1000


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
        Runs a row, with seeds 0, 1, ...; the table then has their mean and range.
    out
        Where the runs go, one folder a table, row and seed.
    into
        Also put the table into this Markdown page, between <!-- table: NAME --> and <!-- end: NAME -->.
    """
    if table is None:
        _list_tables()
        return
    if not 1 <= seeds <= MAX_SEEDS:
        raise ConfigError(f"--seeds is {seeds}; it must be between 1 and {MAX_SEEDS}")
    chosen = find_table(table)
    overrides = [token for token in rows if "=" in token]
    for token in overrides:
        if (key := token.partition("=")[0]) in _OF_THE_ROWS:
            raise ConfigError(f"{key} is what the rows of a table differ in; {_OF_THE_ROWS[key]}")
    wanted = chosen.choose([token for token in rows if "=" not in token])
    plans = {row.name: [_plan(row, overrides, out / table, seed) for seed in range(seeds)] for row in chosen.rows}
    for row in wanted:
        _check_data(chosen, row, plans[row.name][0])
    if into is not None and is_main_process():
        from lsn.report.table import check_place

        check_place(into, table)
    for row in wanted:
        for plan in plans[row.name]:
            _run(plan)
    shown = [row for row in chosen.rows if row in wanted or all(map(_is_done, plans[row.name]))]
    if is_main_process():
        results = [_measured(row, plans[row.name]) for row in shown]
        _finish(table, chosen, results, plans[wanted[-1].name][0], out / table, into)


def _list_tables() -> None:
    listed = columns("Table", "What it compares", "Rows")
    for name, table in TABLES.items():
        listed.add_row(name, table.title, ", ".join(row.name for row in table.rows))
    output().print(listed)


@dataclass(frozen=True)
class _Plan:
    """One training of a row, and what it starts from."""

    name: str
    config: RunConfig
    folder: Path
    start: _Plan | None


_OF_THE_ROWS = {"model.name": "train another model with `lsn train`", "training.seed": "--seeds says how many"}
_WHICH_CLIPS = {f"data.{key}" for key in ("train", "val", "val_fraction", "root", "labels", "group_column")}
_WHOLE_START = "model.initial_weights"
_CNN_STARTS = {"model.pretrained", "model.backbone_weights"}


def _plan(row: Row, overrides: Sequence[str], out: Path, seed: int) -> _Plan:
    """What one seed of a row trains, and before it what it starts from, which has clips of its own.

    A start is trained once for all seeds, or is what `model.initial_weights` names.
    """
    start, mine = None, list(overrides)
    given = [override for override in overrides if _key(override) == _WHOLE_START]
    if row.start:
        mine = [override for override in overrides if _key(override) not in _CNN_STARTS]
        if not given:
            theirs = [override for override in overrides if _key(override) not in _WHICH_CLIPS]
            start = _plan(row.start, theirs, out, seed=0)
            mine.append(f"{_WHOLE_START}={start.folder}")
    config = load_config(find_recipe(row.recipe), (*row.overrides, *mine, f"training.seed={seed}"))
    return _Plan(row.name, config, out / row.name.replace(" ", "_") / f"seed{seed}", start)


def _key(override: str) -> str:
    return override.partition("=")[0]


def _check_data(table: Table, row: Row, plan: _Plan) -> None:
    """Refuses before hours of training what would fail after them."""
    data = plan.config.data
    for path in (data.train, data.val, data.labels):
        if path is not None and not Path(path).exists():
            home = next((each for each in TABLES.values() if row.recipe in {one.recipe for one in each.rows}), table)
            raise DataError(f"{row.name}: {path} is not there. {home.way_to_data}")
    if row.start and plan.start:
        _check_data(table, row.start, plan.start)


def _is_done(plan: _Plan) -> bool:
    """Whether a run is finished, with these settings."""
    recipe = plan.folder / "recipe.yaml"
    finished = (plan.folder / "report.html").is_file()  # what a run writes last
    return finished and load_config(recipe) == plan.config


def _run(plan: _Plan) -> None:
    """Trains what a run starts from and then the run, unless they are finished."""
    if plan.start:
        _run(plan.start)
    what = f"{plan.name}, seed {plan.config.training.seed}"
    if _is_done(plan):
        output().print(f"{what}: done already, in {plan.folder}")
        return
    if (plan.folder / "report.html").is_file():
        raise ConfigError(f"{plan.folder}: holds a run with other settings; delete it, or choose another --out")
    output().print(f"{what}: {plan.config.model.name}, in {plan.folder}")
    from lsn.training.folder import is_unstarted

    resume = (plan.folder / "checkpoint.pt").is_file() and not is_unstarted(plan.folder)
    train_and_report(plan.config, plan.folder, resume=resume, way_on="the same command continues it")


def _measured(row: Row, plans: Sequence[_Plan]) -> TableRow:
    from lsn.report.table import TableRow, protocol_of

    files = [plan.folder / "evaluation.json" for plan in plans]
    metrics = [json.loads(file.read_text(encoding="utf-8"))["metrics"] for file in files]
    config = plans[0].config
    return TableRow(
        row.name,
        config.model.name,
        protocol_of(config),
        row.published,
        tuple(round(100 * measured["top1"], 2) for measured in metrics),
        metrics[0]["num_videos"],
    )


def _finish(name: str, table: Table, rows: Sequence[TableRow], plan: _Plan, folder: Path, into: Path | None) -> None:
    from lsn.report.table import cells, describe_protocol, put_into, write_table

    header, *lines = cells(rows)
    shown = columns(*header, right=("Published", "Top-1", "Difference"))
    for line in lines:
        shown.add_row(*line)
    seeds = len(rows[0].top1)
    notes = [
        f"{rows[0].num_videos} videos; {seeds} seed{'s, mean (range)' if seeds > 1 else ''}. "
        + describe_protocol(plan.config)
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
