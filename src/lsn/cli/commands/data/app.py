"""`lsn data`: look at clips before training on them, and write synthetic ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.text import Text

from lsn.cli.commands.bench import bench_data
from lsn.cli.commands.data.check import Reading, check_clips
from lsn.cli.commands.data.prepare import extract_frames, prepare
from lsn.cli.commands.data.shards import shard
from lsn.cli.commands.data.timelines import TimelineOptions, check_timelines, convert, show_timelines
from lsn.cli.ui.console import bar, columns, output
from lsn.cli.ui.progress import counting_progress
from lsn.errors import ConfigError, DataError
from lsn.files import check_outputs

if TYPE_CHECKING:
    from lsn.data import Description, Problem

MAX_OPENED = 200
"""Clips that `show` opens to measure sizes and durations."""

data = App(name="data", help="Check, show, convert, prepare, pack or synthesize data sets.")
data.command(prepare)
data.command(extract_frames)
data.command(shard)
data.command(bench_data, name="bench")
data.command(convert)


@data.command
def check(
    *manifests: str,
    decode: bool = False,
    doubts: Path | None = None,
    out: Path | None = None,
    root: str | None = None,
    labels: str | None = None,
    group_column: str | None = None,
    multi_label: bool = False,
    options: Annotated[TimelineOptions | None, Parameter(name="*")] = None,
) -> None:
    """Look for what would stop or spoil a training.

    Missing files, wrong labels, classes that one split lacks, clips that both have; with groups, a split to validate on
    that has few of them or looks easier than what is trained on. With timelines: events outside of their video, that
    overlap, or whose label has two spellings.

    Parameters
    ----------
    manifests
        One manifest or folder of class folders, or two: what is trained on and what is validated on.
    decode
        Decode every clip to its last frame, which finds files that are cut off; of two splits, also name clips that
        show almost the same pictures. Slow.
    doubts
        Folder of predictions on the clips by a model that was not trained on them (an evaluation, or a run of lsn train
        --folds): name clips that it is sure have another label.
    out
        Folder for a report with pictures (check.html), and for what was decoded so far: the same command resumes.
    root
        Folder that paths start from; by default each manifest's own.
    labels
        File with one label per line, in order; a TSN list needs it.
    group_column
        Column that names the source of a clip, which must not be in both splits.
    multi_label
        Events of different labels may overlap.
    """
    if not 1 <= len(manifests) <= 2:
        raise ConfigError(f"lsn data check takes one manifest, or two (train and val); got {len(manifests)}")
    options = options or TimelineOptions()
    if any(map(options.apply_to, manifests)):
        if decode or doubts or out:
            raise ConfigError("--decode, --doubts and --out are for clips, and these are timelines; leave them out")
        problems = check_timelines(
            manifests, options, root=root, labels=labels, group_column=group_column, multi_label=multi_label
        )
    else:
        reading = Reading(root, labels, group_column)
        problems = check_clips(manifests, reading, decode=decode, doubts=doubts, out=out)
    _print_problems(problems)
    errors = sum(problem.severity == "error" for problem in problems)
    if errors:
        raise DataError(f"{errors} error{'s' * (errors > 1)} in {' and '.join(manifests)}, listed above")
    output().print("No errors." if problems else "No problems.")


@data.command
def show(
    manifest: str,
    /,
    *,
    sheet: Path | None = None,
    root: str | None = None,
    labels: str | None = None,
    group_column: str | None = None,
    options: Annotated[TimelineOptions | None, Parameter(name="*")] = None,
) -> None:
    """Show classes, sizes and durations, and draw a contact sheet.

    Parameters
    ----------
    manifest
        Manifest, or folder of class folders.
    sheet
        Write a contact sheet here (.png or .jpg): one clip per class, as a row of its frames; of timelines, their
        events over time.
    root
        Folder that paths start from; by default the manifest's own.
    labels
        File with one label per line, in order; a TSN list needs it.
    group_column
        Column that names the source of a clip.
    """
    options = options or TimelineOptions()
    if options.apply_to(manifest):
        from lsn.data import raise_on_errors

        found, problems = options.parse(manifest, root=root, labels=labels, group_column=group_column)
        raise_on_errors(problems)
        check_outputs([sheet], [manifest, labels, *(video.path for video in found.videos)])
        show_timelines(found, sheet)
        return
    from lsn.data import describe, probe, read_manifest, thinned

    clips = read_manifest(manifest, root=root, labels=labels, group_column=group_column)
    check_outputs(
        [sheet],
        [*(path for path in (manifest, labels) if path and Path(path).is_file()), *(clip.path for clip in clips.clips)],
    )
    opened = thinned(clips, MAX_OPENED)
    with counting_progress("opening clips") as progress:
        description = describe(clips, probe(opened, progress=progress))
    _print_description(description, num_opened=len(opened))
    if sheet is not None:
        from lsn.cli.ui.contact_sheet import write_contact_sheet

        with counting_progress("reading frames") as progress:
            write_contact_sheet(sheet, clips, progress=progress)
        output().print(f"\nContact sheet: {sheet}")


@data.command
def synthesize(
    folder: Path,
    /,
    *,
    kind: Literal["motion", "long", "gestures", "timeline", "gesture_timeline"] = "motion",
    num_train: int | None = None,
    num_val: int | None = None,
    size: int | None = None,
    num_frames: int | None = None,
    fps: float = 15.0,
    seed: int = 0,
    workers: int = 2,
) -> None:
    """Write a synthetic data set: videos, train.csv and val.csv.

    Parameters
    ----------
    folder
        Where to write; a finished set of the same kind and numbers is left as it is.
    kind
        motion: ten motions in pairs that only the order of frames distinguishes. long: the order of two short
        events far apart. gestures: ten paths drawn by a fingertip. timeline, gesture_timeline: long videos with such
        motions or gestures as events.
    num_train
        Videos to train on, by default 1000, of timelines 200; clips over all classes, a multiple of their number.
    num_val
        Videos to validate on, by default 200, of timelines 40; likewise.
    size
        Height of the frames, in pixels; by default 96, long 64, gestures 120.
    num_frames
        Frames per video; by default 16, long 48, gestures 32, timelines 450.
    fps
        Frames per second.
    seed
        Fixes every pixel.
    workers
        Processes that render and encode; 0 does it in this one.
    """
    from lsn.data.synthetic import write_synthetic

    with counting_progress("writing videos") as progress:
        written = write_synthetic(
            folder,
            kind=kind,
            num_train=num_train,
            num_val=num_val,
            size=size,
            num_frames=num_frames,
            fps=fps,
            seed=seed,
            num_workers=workers,
            progress=progress,
        )
    numbers = f"{written.num_train} + {written.num_val}"
    output().print(f"{numbers} videos of {len(written.labels)} classes: {', '.join(written.labels)}")
    output().print(f"Train on {written.train}, validate on {written.val}.")


def _print_problems(problems: list[Problem]) -> None:
    styles = {"error": "bold red", "warning": "yellow"}
    for problem in sorted(problems, key=lambda problem: problem.severity):
        output().print(Text(problem.severity, style=styles[problem.severity]).append(f" {problem}", style="default"))


def _print_description(description: Description, num_opened: int) -> None:
    console = output()
    most = max(description.clips_of_class.values())
    table = columns("Class", "Clips", "", right=("Clips",))
    for label, number in description.clips_of_class.items():
        table.add_row(label, str(number), bar(number / most if most else 0))
    console.print(table)
    groups = f", {description.num_groups} sources" if description.num_groups else ""
    console.print(f"\n{description.num_clips} clips, {len(description.clips_of_class)} classes{groups}")
    if (found := description.opened) is not None:
        sizes = ", ".join(f"{size} ({number})" for size, number in list(found.clips_of_size.items())[:5])
        seconds, fps, frames = found.duration_seconds, found.fps, found.num_frames
        every = "" if num_opened == description.num_clips else f" (of {num_opened} clips looked into)"
        console.print(f"Size{every}: {sizes}; {', '.join(found.clips_of_codec)}")
        console.print(f"Duration: {seconds.minimum:.1f} to {seconds.maximum:.1f} s, median {seconds.median:.1f} s")
        console.print(f"Frames: {frames.minimum:.0f} to {frames.maximum:.0f}, median {frames.median:.0f}")
        console.print(f"Frames per second: {fps.minimum:.4g} to {fps.maximum:.4g}")
    for where, error in description.unreadable:
        console.print(Text("unreadable", style="bold red").append(f" {where}: {error}", style="default"))
