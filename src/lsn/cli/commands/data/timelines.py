"""What `lsn data` does with timelines: check, show and convert them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lsn.cli.ui.console import columns, output, percent
from lsn.cli.ui.progress import counting_progress
from lsn.config.timelines import Format
from lsn.errors import ConfigError
from lsn.files import check_outputs

if TYPE_CHECKING:
    from lsn.data import Problem
    from lsn.data.timelines.describe import LabelDescription
    from lsn.data.timelines.table import TimelineManifest

_SUFFIXES = (".eaf", ".vtt", ".json", ".bundle")


@dataclass(frozen=True)
class TimelineOptions:
    """How timelines are read."""

    timelines: bool = False
    """These are long videos with events, not clips; .json, .eaf, .vtt and .bundle always are."""
    subset: str | None = None
    """Of a file that names subsets, the one that is read, such as training."""
    fps: float | None = None
    """Rate at which frame numbers count, where the file does not say it or says it wrong."""
    background: str = "background"
    """Name of the background."""
    unlabelled: Literal["background", "unknown"] = "background"
    """What time without an event is: background, or unknown."""

    def apply_to(self, path: str) -> bool:
        """Whether a file or folder is read as timelines."""
        return self.timelines or Path(path).suffix.lower() in _SUFFIXES

    def parse(
        self,
        path: str,
        *,
        root: str | None = None,
        labels: str | Sequence[str] | None = None,
        group_column: str | None = None,
    ) -> tuple[TimelineManifest, list[Problem]]:
        """The timelines, and what is wrong with them."""
        from lsn.data.timelines.reading import parse_timelines

        return parse_timelines(
            path,
            root=root,
            labels=labels,
            group_column=group_column,
            subset=self.subset,
            fps=self.fps,
            unlabelled=self.unlabelled,
            background=self.background,
        )


def check_timelines(
    manifests: tuple[str, ...],
    options: TimelineOptions,
    *,
    root: str | None,
    labels: str | None,
    group_column: str | None,
    multi_label: bool,
) -> list[Problem]:
    """Checks timelines, or two splits of them; prints their numbers and returns what is wrong."""
    from lsn.data.timelines.checks import check_timelines, split_problems

    problems: list[Problem] = []
    splits: list[TimelineManifest] = []
    for path in manifests:
        order = labels or (list(splits[0].labels) if splits else None) or None
        manifest, found = options.parse(path, root=root, labels=order, group_column=group_column)
        with counting_progress("opening videos") as progress:
            found += check_timelines(
                manifest, background=options.background, multi_label=multi_label, progress=progress
            )
        problems += found
        splits.append(manifest)
        events = sum(manifest.num_events().values())
        output().print(f"{manifest.source}: {len(manifest)} videos, {events} events of {len(manifest.labels)} labels")
    return problems + (split_problems(*splits) if len(splits) == 2 else [])


def show_timelines(manifest: TimelineManifest, sheet: Path | None) -> None:
    """Prints the numbers of timelines, and draws them."""
    from lsn.data.timelines.describe import describe_timelines

    with counting_progress("opening videos") as progress:
        found = describe_timelines(manifest, progress=progress)
    table = columns(
        "Event", "Number", "Shortest", "Median", "Longest", right=("Number", "Shortest", "Median", "Longest")
    )
    for label, about in found.of_label.items():
        table.add_row(label, str(about.num_events), *_durations(about))
    console = output()
    console.print(table)
    total = sum(found.duration_seconds.values())
    events = sum(about.num_events for about in found.of_label.values())
    console.print(
        f"\n{found.num_videos} videos of {total / 60:.1f} minutes in all, {found.num_empty} of them without events; "
        f"{events} events, {events / total * 3600 if total else 0:.0f} an hour"
    )
    what = "background" if manifest.unlabelled == "background" else "of unknown content"
    console.print(f"Without an event: {percent(found.share_without_events)} of the time, which is {what}")
    for where, error in found.unreadable:
        console.print(f"unreadable {where}: {error}", style="bold red", markup=False)
    if sheet is not None:
        from lsn.report.timelines import write_timelines_picture

        write_timelines_picture(manifest, found.duration_seconds, sheet)
        console.print(f"\nPicture: {sheet}")


def _durations(about: LabelDescription) -> tuple[str, str, str]:
    spread = about.duration_seconds
    if spread is None:
        return ("point", "", "")
    return (f"{spread.minimum:.2f} s", f"{spread.median:.2f} s", f"{spread.maximum:.2f} s")


def convert(
    timelines: str,
    out: Path,
    /,
    *,
    format: Format | None = None,
    root: str | None = None,
    group_column: str | None = None,
    subset: str | None = None,
    fps: float | None = None,
    background: str = "background",
) -> None:
    """Convert timelines from one format to another.

    What the other format cannot hold is an error; groups and subsets are kept in CSV and JSON lines only.

    Parameters
    ----------
    timelines
        Long videos with events, in any format: see docs/timelines.md.
    out
        File, or folder for formats with a file per video or label.
    format
        What is written; by default csv or jsonl, by the suffix.
    root
        Folder that the videos lie in; by default that of the timelines.
    group_column
        Column that names the source of a video.
    subset
        Of a file that names subsets, the one that is read, such as training.
    fps
        Rate at which frame numbers count, where the file does not say it or says it wrong.
    background
        Name of the background, in formats that label every frame.
    """
    from lsn.data.timelines.reading import read_timelines, write_timelines

    manifest = read_timelines(
        timelines, root=root, group_column=group_column, subset=subset, fps=fps, background=background
    )
    check_outputs([out], [timelines, *(video.path for video in manifest.videos)])
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out}: is a folder with files in it; give one that is empty or new")
    write_timelines(out, manifest, format=format, background=background)
    events = sum(manifest.num_events().values())
    output().print(f"{len(manifest)} videos with {events} events of {len(manifest.labels)} labels: {out}")
