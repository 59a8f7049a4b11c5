"""A table of results beside the published ones, as plain data, Markdown, and a part of a longer page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lsn.config import RunConfig
from lsn.errors import DataError
from lsn.evaluation.cross_validation import MIN_GROUP_CLIPS
from lsn.files import write_text


@dataclass(frozen=True)
class TableRow:
    """One model: how it was tested, what was published for it, and what was measured."""

    name: str
    model: str
    protocol: str
    """Frames x clips x crops, of long videos the frames per second of the stream."""
    published: float | None
    """In percent, as the score."""
    scores: tuple[float, ...]
    """Top-1 in percent, of long videos the F1 of events; one value per seed."""
    num_videos: int
    """Videos that it was tested on."""
    interval: tuple[float, float] | None = None
    """95% interval of the mean over the seeds in percent, by bootstrap over groups; of cross-validation."""
    worst_group: float | None = None
    """Top-1 in percent of the group that was recognised worst; of cross-validation."""
    has_events: bool = False
    """Whether it was tested on long videos."""

    @property
    def mean(self) -> float:
        """Mean score over the seeds."""
        return statistics.mean(self.scores)


def cells(rows: Sequence[TableRow]) -> list[tuple[str, ...]]:
    """The table as text, its header first; without columns that would be empty."""
    has_events = rows[0].has_events
    columns = {
        "Row": [row.name for row in rows],
        "Model": [row.model for row in rows],
        ("Frames per second" if has_events else "Frames x clips x crops"): [row.protocol for row in rows],
        ("F1@25" if has_events else "Top-1"): [f"{row.mean:.1f}{_range(row.scores)}" for row in rows],
    }
    if any(row.published is not None for row in rows):
        columns["Published"] = ["" if row.published is None else f"{row.published:.1f}" for row in rows]
        columns["Difference"] = ["" if row.published is None else f"{row.mean - row.published:+.1f}" for row in rows]
    if any(row.interval is not None for row in rows):
        columns["95% interval"] = [
            "" if row.interval is None else f"{row.interval[0]:.1f} to {row.interval[1]:.1f}" for row in rows
        ]
        columns["Worst group"] = ["" if row.worst_group is None else f"{row.worst_group:.1f}" for row in rows]
    return [tuple(columns), *zip(*columns.values(), strict=True)]


def _range(values: Sequence[float]) -> str:
    return f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""


def protocol_of(config: RunConfig) -> str:
    """Frames x clips x crops of a configuration, such as 16x2x1; of streams their frames per second."""
    if config.data.kind == "timelines":
        return f"{config.input.fps:g}"
    return f"{config.model.num_frames}x{config.evaluation.num_clips}x{config.evaluation.num_crops}"


def describe_protocol(config: RunConfig, *, num_folds: int = 0) -> str:
    """What the figures of a configuration mean, in a sentence or two.

    Args:
        config: Of a run.
        num_folds: Folds of the cross-validation that it is from, 0 for a single run.
    """
    keeps_best = config.training.keep == "best"
    if config.data.kind == "timelines":
        where = "test" if config.data.test else "validation"
        chosen = "the best epoch on the validation videos" if keeps_best else "the last epoch"
        return (
            f"F1 in percent of events with an overlap of 25%, of {chosen}, on the {where} videos; each is run once, as "
            f"one stream, by rules that fit the validation videos; frames of short side {config.input.short_side}, "
            f"centre crop of {config.input.size}."
        )
    if num_folds:
        groups = f" by {config.data.group_column}" if config.data.group_column else ""
        chosen = "the epoch that is best on clips set aside from those trained on" if keeps_best else "the last epoch"
        what = (
            f"all videos, each tested by a model that has not seen its group ({num_folds} folds{groups}), at {chosen}; "
            f"the interval is by bootstrap over groups, the worst group has at least {MIN_GROUP_CLIPS} videos"
        )
    elif keeps_best:
        what = "the best epoch on the validation videos, which the figure is measured on, too"
    else:
        what = "the last epoch on the validation videos, which chose nothing"
    crop = "centre crop" if config.evaluation.num_crops == 1 else "three crops"
    return (
        f"Top-1 in percent of {what}; frames of short side {config.input.short_side}, "
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
