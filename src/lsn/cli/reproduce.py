"""`lsn reproduce`: a whole table of results, beside the published one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.cli.console import columns, is_main_process, output
from lsn.cli.train import train_and_report
from lsn.config import RunConfig, load_config, to_yaml
from lsn.errors import ConfigError, DataError
from lsn.recipes import find_recipe
from lsn.recipes.tables import TABLES, Row, Table, find_table

if TYPE_CHECKING:
    from lsn.report.table import TableRow


def reproduce(
    table: str | None = None,
    /,
    *rows: str,
    seeds: int = 1,
    out: Path = Path("runs/tables"),
    into: Path | None = None,
) -> None:
    """Train and test the models of a table, and print it beside the published figures.

    Without a table, the tables and their rows are listed. Runs that are finished are not repeated, others go on
    where they were stopped. On several GPUs: torchrun --nproc-per-node 8 -m lsn reproduce ...

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
    if seeds < 1:
        raise ConfigError(f"--seeds is {seeds}; it must be at least 1")
    chosen = find_table(table)
    overrides = [token for token in rows if "=" in token]
    wanted = chosen.choose([token for token in rows if "=" not in token])
    for row in wanted:
        _check_data(chosen, row, overrides)
    results = [_run_row(row, overrides, out / table, seeds) for row in wanted]
    if is_main_process():
        _finish(table, chosen, results, _config(wanted[-1], overrides, seed=0), out / table, into)


def _list_tables() -> None:
    listed = columns("Table", "What it compares", "Rows")
    for name, table in TABLES.items():
        listed.add_row(name, table.title, ", ".join(row.name for row in table.rows))
    output().print(listed)


def _config(row: Row, overrides: Sequence[str], *, seed: int) -> RunConfig:
    return load_config(find_recipe(row.recipe), (*row.overrides, *overrides, f"training.seed={seed}"))


_WHICH_CLIPS = {f"data.{key}" for key in ("train", "val", "val_fraction", "root", "labels", "group_column")}


def _for_start(overrides: Sequence[str]) -> list[str]:
    """Changes that also hold for what a row starts from, which has clips of its own."""
    return [override for override in overrides if override.partition("=")[0] not in _WHICH_CLIPS]


def _check_data(table: Table, row: Row, overrides: Sequence[str]) -> None:
    """Refuses before hours of training what would fail after them."""
    data = _config(row, overrides, seed=0).data
    for path in (data.train, data.val, data.labels):
        if path is not None and not Path(path).exists():
            raise DataError(f"{row.name}: {path} is not there. {table.way_to_data}")
    if row.start:
        _check_data(table, row.start, _for_start(overrides))


def _run_row(row: Row, overrides: Sequence[str], out: Path, seeds: int) -> TableRow:
    from lsn.report.table import TableRow, protocol_of

    folders = [_run(row, overrides, out, seed) for seed in range(seeds)]
    metrics = [json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["metrics"] for folder in folders]
    config = _config(row, overrides, seed=0)
    return TableRow(
        row.name,
        config.model.name,
        protocol_of(config),
        row.published,
        tuple(round(100 * measured["top1"], 2) for measured in metrics),
        metrics[0]["num_videos"],
    )


def _run(row: Row, overrides: Sequence[str], out: Path, seed: int) -> Path:
    """Trains one row with one seed, and before it what it starts from; returns the run's folder."""
    config = _config(row, overrides, seed=seed)
    if row.start:
        start = _run(row.start, _for_start(overrides), out, seed=0)
        config = replace(config, model=replace(config.model, initial_weights=str(start)))
    folder = out / row.name.replace(" ", "_") / f"seed{seed}"
    if (folder / "report.html").is_file():  # what a run writes last
        _require_same(config, folder)
        output().print(f"{row.name}, seed {seed}: done already, in {folder}")
        return folder
    output().print(f"{row.name}, seed {seed}: {config.model.name} by the recipe {row.recipe}")
    train_and_report(config, folder, resume=(folder / "checkpoint.pt").is_file())
    return folder


def _require_same(config: RunConfig, folder: Path) -> None:
    if (folder / "recipe.yaml").read_text(encoding="utf-8") != to_yaml(config):
        raise ConfigError(f"{folder}: holds a run with other settings; delete it, or choose another --out")


def _finish(
    name: str, table: Table, rows: Sequence[TableRow], config: RunConfig, folder: Path, into: Path | None
) -> None:
    from lsn.report.table import HEADERS, describe_protocol, put_into, write_table

    shown = columns(*HEADERS, right=("Published", "Top-1", "Difference"))
    for row in rows:
        shown.add_row(*row.cells())
    seeds = len(rows[0].top1)
    notes = [
        f"{rows[0].num_videos} videos; {seeds} seed{'s, mean (range)' if seeds > 1 else ''}. "
        + describe_protocol(config)
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
