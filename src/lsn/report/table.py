"""A table of results beside the published ones, as plain data, Markdown, and a part of a longer page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lsn.config import RunConfig
from lsn.errors import DataError
from lsn.files import write_text


@dataclass(frozen=True)
class TableRow:
    """One model: how it was tested, what was published for it, and what was measured."""

    name: str
    model: str
    protocol: str
    """Frames x clips x crops."""
    published: float | None
    """Top-1 in percent."""
    top1: tuple[float, ...]
    """Top-1 in percent, one value a seed."""
    num_videos: int
    """Videos that it was tested on."""

    @property
    def mean(self) -> float:
        """Mean top-1 over the seeds."""
        return statistics.mean(self.top1)


def cells(rows: Sequence[TableRow]) -> list[tuple[str, ...]]:
    """The table as text, its header first; without what was published if nothing was, for any row."""
    compared = any(row.published is not None for row in rows)
    header = ("Row", "Model", "Frames x clips x crops", "Top-1")
    return [(*header, "Published", "Difference") if compared else header, *(_cells(row, compared) for row in rows)]


def _cells(row: TableRow, compared: bool) -> tuple[str, ...]:
    spread = f" ({min(row.top1):.1f} to {max(row.top1):.1f})" if len(row.top1) > 1 else ""
    measured = (row.name, row.model, row.protocol, f"{row.mean:.1f}{spread}")
    if not compared:
        return measured
    if row.published is None:
        return (*measured, "", "")
    return (*measured, f"{row.published:.1f}", f"{row.mean - row.published:+.1f}")


def protocol_of(config: RunConfig) -> str:
    """Frames x clips x crops of a configuration, such as 16x2x1."""
    return f"{config.model.num_frames}x{config.evaluation.num_clips}x{config.evaluation.num_crops}"


def describe_protocol(config: RunConfig) -> str:
    """What the figures of a configuration mean, in a sentence."""
    crop = "centre crop" if config.evaluation.num_crops == 1 else "three crops"
    return (
        f"Top-1 in percent of the best epoch on the validation videos; frames of short side {config.input.short_side}, "
        f"{crop} of {config.input.size}; the scores of a clip are the mean over its frames, those of a video the mean "
        f"of the {config.evaluation.average} over its clips and crops."
    )


def write_table(folder: Path, title: str, rows: Sequence[TableRow], notes: Sequence[str]) -> str:
    """Writes `table.md` and `table.json`; returns the Markdown."""
    header, *others = (f"| {' | '.join(line)} |" for line in cells(rows))
    lines = [header, f"|{'---|' * (header.count('|') - 1)}", *others]
    text = "\n".join([f"**{title}**", "", *lines, "", *notes, ""])
    write_text(folder / "table.md", text)
    write_text(folder / "table.json", json.dumps([asdict(row) | {"mean": row.mean} for row in rows], indent=2) + "\n")
    return text


def check_place(page: Path, name: str) -> None:
    """Makes sure that `put_into` will find its place.

    Raises:
        DataError: the page is missing or has no part that belongs to the table.
    """
    _around(page, name)


def put_into(page: Path, name: str, text: str) -> None:
    """Replaces the part of a Markdown page that belongs to a table.

    Raises:
        DataError: the page is missing or has no such part.
    """
    before, after = _around(page, name)
    write_text(page, before + text + after)


def _around(page: Path, name: str) -> tuple[str, str]:
    """What stands before the table, its mark included, and what after."""
    start, end = f"<!-- table: {name} -->\n", f"<!-- end: {name} -->"
    try:
        old = page.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{page}: cannot be read: {error.strerror}") from None
    before, found, rest = old.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise DataError(f"{page}: has no place for this table; write {start.strip()} and {end} where it belongs")
    return before + start, end + after
