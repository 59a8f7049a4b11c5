"""`lsn data prepare` and `lsn data extract-frames`: from what authors publish to what a training reads."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.cli.ui.console import error_line, format_bytes, output
from lsn.cli.ui.progress import counting_progress, duration
from lsn.errors import ConfigError, DataError
from lsn.hardware import usable_cores

if TYPE_CHECKING:
    from lsn.data.frames.extraction import Extraction
    from lsn.data.official import Prepared

MAX_LISTED = 10
MAX_OPENED = 200
"""Videos that are opened to measure their lengths."""
MAX_EXTRACTED = 12
"""Videos whose frames are extracted for a moment, to estimate what all of them would take."""


def prepare(
    name: str,
    /,
    *,
    annotations: Path,
    videos: Path | None = None,
    out: Path,
    skip_missing: bool = False,
) -> None:
    """Turn the official files of a data set into manifests.

    Known are something-something-v1, something-something-v2, diving48 (version 2 of its labels) and diving48-v1, from
    the files of their authors or TSN lists made from them. Nothing is written unless all is well.

    Parameters
    ----------
    name
        The data set.
    annotations
        Folder with the official lists.
    videos
        Folder with a video file, or a folder of frames, for each id. Without it nothing is looked for, and data.root
        says later where they are.
    out
        New folder for train.csv, val.csv and labels.txt.
    skip_missing
        Leave videos that are not there out, count and list them, instead of refusing.
    """
    from lsn.data.official import prepare as prepare_dataset

    with counting_progress("counting frames") as progress:
        prepared = prepare_dataset(
            name, annotations=annotations, videos=videos, out=out, skip_missing=skip_missing, progress=progress
        )
    _print_prepared(prepared, out)
    if prepared.videos_checked:
        _print_videos(prepared)


def extract_frames(
    *manifests: str,
    out: Path,
    short_side: int = 256,
    pattern: str = "img_{:05d}.jpg",
    quality: int = 95,
    workers: int | None = None,
    root: str | None = None,
    labels: str | None = None,
    group_column: str | None = None,
) -> None:
    """Write the frames of every video of some manifests as JPEGs, and manifests of them.

    Trainings read videos as they are; docs/data.md has more on frames. A call that was stopped can be repeated:
    finished videos are counted again and kept.

    Parameters
    ----------
    manifests
        Manifests or folders of class folders.
    out
        Where the frames and their manifests go.
    short_side
        Larger frames are shrunk to this short side, in pixels.
    pattern
        Names of the frames, numbered from 1.
    quality
        Of the JPEGs, 1 to 100.
    workers
        Processes; by default as many as there are cores.
    root
        Folder that paths start from; by default each manifest's own.
    labels
        File with one label per line, in order; a TSN list needs it.
    group_column
        Column that names the source of a clip; it is kept as "group".
    """
    if not manifests:
        raise ConfigError("lsn data extract-frames takes one manifest or more, for example train.csv val.csv")
    from lsn.data import read_manifest
    from lsn.data.frames.extraction import ExtractionSettings, extract_manifests
    from lsn.data.loading.workers import check_num_workers

    if workers is None:
        workers = usable_cores()
    check_num_workers(workers, least=1)
    tables = [read_manifest(path, root=root, labels=labels, group_column=group_column) for path in manifests]
    start = time.monotonic()
    with counting_progress("extracting videos") as progress:
        done = extract_manifests(
            tables,
            out,
            settings=ExtractionSettings(short_side, pattern, quality),
            num_workers=workers,
            progress=progress,
        )
    _print_extracted(done, out, time.monotonic() - start)


def _print_extracted(done: Extraction, out: Path, seconds: float) -> None:
    """Prints what was written.

    Raises:
        DataError: some videos gave no frames.
    """
    found = f" and {done.num_found} were there already" if done.num_found else ""
    console = output()
    console.print(f"{done.num_extracted} videos extracted{found}: {done.num_frames} frames, in {duration(seconds)}.")
    console.print(f"Manifests: {', '.join(map(str, done.manifests))}")
    if done.failures:
        for path, reason in done.failures[:MAX_LISTED]:
            console.print(f"failed: {path}: {reason}")
        raise DataError(
            f"{len(done.failures)} videos or parts of them gave no frames and are not in the manifests; "
            f"{out / 'failures.csv'} lists "
            "them: mend them and run the same command again, which keeps what is done"
        )


def _print_prepared(prepared: Prepared, out: Path) -> None:
    from lsn.data.clips.text import listing

    console = output()
    dataset = prepared.annotations.dataset
    console.print(
        f"{dataset.title}: {prepared.num_train} clips to train on, {prepared.num_val} to validate on, "
        f"{len(prepared.annotations.labels)} classes"
    )
    official = (dataset.num_train, dataset.num_val)
    if (prepared.num_train, prepared.num_val) != official:
        console.print(f"The whole set has {official[0]} and {official[1]}.")
    if prepared.unused_labels:
        console.print(
            f"{len(prepared.unused_labels)} classes without clips, left out of class means: "
            f"{listing(prepared.unused_labels)}"
        )
    if prepared.missing:
        console.print(f"{len(prepared.missing)} videos are missing and left out, listed in {out / 'missing.txt'}")
    if not prepared.videos_checked:
        console.print("Videos were not looked for; set data.root to their folder.")
    console.print(f"Train on {out / 'train.csv'}, validate on {out / 'val.csv'}, labels in {out / 'labels.txt'}.")


def _print_videos(prepared: Prepared) -> None:
    """What the videos are like, and what it would take to extract their frames."""
    from lsn.data import describe, probe, read_manifest, thinned
    from lsn.data.frames.extraction import estimate_extraction

    train = read_manifest(prepared.train, labels=prepared.annotations.labels)
    opened = thinned(train, MAX_OPENED)
    probes = probe(opened)
    failed = [found.error for found in probes if found.error is not None]
    if failed:
        said = f"{len(failed)} of {len(probes)} videos looked into cannot be read; the first: {failed[0]}"
        if len(failed) == len(probes):
            raise DataError(said)
        error_line(f"warning: {said}; `lsn data check {prepared.train}` lists all", style="yellow")
    frames = describe(opened, probes).opened
    console = output()
    if frames is not None:
        spread = frames.num_frames
        some = f" (of {len(opened)} videos looked into)" if len(opened) < len(train) else ""
        console.print(f"Frames{some}: {spread.minimum:.0f} to {spread.maximum:.0f}, median {spread.median:.0f}")
    files = [clip for clip in train.clips if clip.num_frames is None]  # folders have been counted
    if not files:
        return
    estimate = estimate_extraction(thinned(replace(train, clips=tuple(files)), MAX_EXTRACTED))
    if estimate is not None:
        cores, num_videos = usable_cores(), prepared.num_train + prepared.num_val
        console.print(
            f"Extracting frames (lsn data extract-frames) would take about "
            f"{format_bytes(round(num_videos * estimate.bytes_per_video))} and "
            f"{duration(num_videos * estimate.seconds_per_video / cores)} on {cores} cores."
        )
