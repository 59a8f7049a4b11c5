"""Frames of whole data sets as folders of JPEGs: in parallel, resumable, and counted."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from lsn.data.clips import Clip, Manifest
from lsn.data.windows import frame_range
from lsn.data.workers import map_in_processes
from lsn.errors import DataError, VideoError
from lsn.files import write_csv, write_text
from lsn.video.extract import check_extraction, extract_frames, open_for_extraction
from lsn.video.frames_reader import numbered_files

RECORD = "extraction.json"
"""With what settings the frames of a folder were written."""


@dataclass(frozen=True)
class ExtractionSettings:
    """How frames are written; see `lsn.video.extract`."""

    short_side: int = 256
    """Larger frames are shrunk to it; smaller ones stay as they are."""
    pattern: str = "img_{:05d}.jpg"
    """Names of the frames, numbered from 1."""
    quality: int = 95
    """Of the JPEGs, 1 to 100."""


@dataclass(frozen=True)
class Extraction:
    """What became of the videos of some manifests."""

    num_extracted: int
    """Videos whose frames this call wrote."""
    num_found: int
    """Videos whose frames an earlier call had written; their number was checked."""
    num_frames: int
    """Frames of all videos, found ones included."""
    failures: tuple[tuple[str, str], ...]
    """Path and reason of each video that gave no frames."""
    manifests: tuple[Path, ...]
    """The manifests of the frames, in the order of those given."""


@dataclass(frozen=True)
class Estimate:
    """What extraction takes, measured on some videos in one process."""

    bytes_per_video: float
    seconds_per_video: float


@dataclass(frozen=True)
class _Job:
    """One video file and the clips that are cut from it."""

    path: str
    folder: Path
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class _Result:
    num_frames: int = 0
    was_there: bool = False
    windows: tuple[tuple[int, int], ...] = ()
    """First frame of each clip, and the one after its last."""
    error: str | None = None


def extract_manifests(
    manifests: Sequence[Manifest],
    out: str | Path,
    *,
    settings: ExtractionSettings | None = None,
    num_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Writes the frames of every video below `out`, and a manifest of them beside for each manifest given.

    A video's folder appears when all of its frames are written and counted, so that a call that was killed can be
    repeated: folders that are there are counted again and kept. Windows in seconds become windows in frames.
    Videos that cannot be decoded are left out of the manifests and listed in `failures.csv`.

    Args:
        manifests: what to extract, read from files of different names.
        out: new folder, or one that an earlier call with the same settings has begun.
        settings: size, names and quality of the frames.
        num_workers: processes.
        progress: called with the number of videos done and of all.

    Raises:
        ConfigError: settings out of range.
        DataError: the folder holds something else or frames with other settings, two manifests have one name, or
            a clip is a folder of frames already.
    """
    settings, out = settings or ExtractionSettings(), Path(out)
    check_extraction(**asdict(settings))
    names = [f"{Path(manifest.source).stem}.csv" for manifest in manifests]
    if len(set(names)) < len(names):
        raise DataError(f"manifests of the same name would be written to {out}: {', '.join(names)}; rename one")
    jobs = _jobs(manifests, out / "frames")
    _claim(out, settings)

    results: dict[str, _Result] = {}
    extracted = map_in_processes(partial(_extract, settings=settings), jobs, num_workers=num_workers, jobs_a_turn=4)
    for job, result in zip(jobs, extracted, strict=True):
        results[job.path] = result
        if progress:
            progress(len(results), len(jobs))
    failures = tuple((path, result.error) for path, result in results.items() if result.error is not None)
    _write_failures(out / "failures.csv", failures)
    folders = {job.path: job.folder for job in jobs}
    windows = {
        (job.path, clip.window): span
        for job in jobs
        for clip, span in zip(job.clips, results[job.path].windows, strict=False)  # none where the video failed
    }
    for name, manifest in zip(names, manifests, strict=True):
        write_csv(out / name, _manifest(manifest, out, folders, results, windows, settings.pattern))
    done = [result for result in results.values() if result.error is None]
    return Extraction(
        num_extracted=sum(not result.was_there for result in done),
        num_found=sum(result.was_there for result in done),
        num_frames=sum(result.num_frames for result in done),
        failures=failures,
        manifests=tuple(out / name for name in names),
    )


def estimate_extraction(manifest: Manifest, settings: ExtractionSettings | None = None) -> Estimate | None:
    """Extracts the videos of a small manifest for a moment; None if none of them can be decoded."""
    settings = settings or ExtractionSettings()
    num_bytes, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for job in _jobs([manifest], Path(folder)):
            start = time.monotonic()
            if _extract(job, settings).error is None:
                seconds.append(time.monotonic() - start)
                num_bytes.append(sum(path.stat().st_size for path in job.folder.iterdir()))
    return Estimate(statistics.mean(num_bytes), statistics.mean(seconds)) if seconds else None


def _jobs(manifests: Sequence[Manifest], frames: Path) -> list[_Job]:
    clips_of: dict[str, dict[tuple[float | None, ...], Clip]] = {}
    for manifest in manifests:
        for clip in manifest.clips:
            if Path(clip.path).is_dir():
                raise DataError(f"{manifest.where(clip)}: {clip.path} is a folder of frames already; give video files")
            clips_of.setdefault(clip.path, {}).setdefault(clip.window, clip)
    absolute = {path: Path(os.path.abspath(path)) for path in clips_of}  # noqa: PTH100 - without .. and links as they are
    top = Path(os.path.commonpath([path.parent for path in absolute.values()])) if absolute else Path()
    folders: dict[Path, str] = {}
    jobs = []
    for path, clips in clips_of.items():
        inside = absolute[path].relative_to(top)
        folder = inside.with_suffix("")
        if folder in folders:  # a.mp4 and a.avi
            folder = inside
        folders[folder] = path
        jobs.append(_Job(path, frames / folder, tuple(clips.values())))
    return jobs


def _claim(out: Path, settings: ExtractionSettings) -> None:
    """Makes the folder ours, or makes sure that it was made with the same settings."""
    record = out / RECORD
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        write_text(record, json.dumps(asdict(settings), indent=2) + "\n")
        return
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{out}: exists and holds no extracted frames; choose a new or an empty folder") from None
    if found != asdict(settings):
        raise DataError(
            f"{out}: holds frames with {found}, asked: {asdict(settings)}; delete it or choose another folder"
        )


def _extract(job: _Job, settings: ExtractionSettings) -> _Result:
    try:
        with open_for_extraction(job.path, short_side=settings.short_side) as video:
            windows = tuple(frame_range(clip, video) for clip in job.clips)
            was_there = job.folder.exists()
            if was_there and not _is_whole(job.folder, settings.pattern, video.num_frames):
                shutil.rmtree(job.folder)
                was_there = False
            if not was_there:
                extract_frames(video, job.folder, pattern=settings.pattern, quality=settings.quality)
            return _Result(video.num_frames, was_there, windows)
    except VideoError as error:
        return _Result(error=str(error))


def _is_whole(folder: Path, pattern: str, num_frames: int) -> bool:
    try:
        return len(numbered_files(folder, pattern)) == num_frames
    except VideoError:
        return False


def _write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    if not failures:
        path.unlink(missing_ok=True)  # of an earlier call
        return
    write_csv(path, [("path", "reason"), *failures])


def _manifest(
    manifest: Manifest,
    out: Path,
    folders: dict[str, Path],
    results: dict[str, _Result],
    windows: dict[tuple[str, tuple[float | None, ...]], tuple[int, int]],
    pattern: str,
) -> Iterator[tuple[object, ...]]:
    """The rows of the manifest of frames that stands for one of videos, its header first."""
    yield "path", "label", "first_frame", "last_frame", "num_frames", "frame_pattern", "group"
    for clip in manifest.clips:
        result = results[clip.path]
        if result.error is not None:
            continue
        span: tuple[int | None, int | None] = windows[clip.path, clip.window]
        if span == (0, result.num_frames):
            span = None, None
        folder = folders[clip.path].relative_to(out).as_posix()
        yield folder, clip.label, *span, result.num_frames, pattern, clip.group
