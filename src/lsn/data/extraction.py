"""Frames of whole data sets as folders of JPEGs: in parallel, resumable, and counted."""

from __future__ import annotations

import csv
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lsn.data.clips import Clip, Manifest
from lsn.data.windows import frame_range
from lsn.data.workers import map_in_processes
from lsn.errors import DataError, VideoError
from lsn.files import write_csv, write_text
from lsn.video import VideoReader
from lsn.video.extract import check_extraction, extract_frames, open_for_extraction
from lsn.video.frames_reader import numbered_files

RECORD, FRAMES = "extraction.json", "frames"
"""What a folder holds, and below it the frames."""


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
    """Path and reason of each video, or part of one, that gave no frames."""
    manifests: tuple[Path, ...]
    """The manifests of the frames, in the order of those given."""


@dataclass(frozen=True)
class Estimate:
    """What extraction takes, measured on some videos in one process."""

    bytes_per_video: float
    seconds_per_video: float


_Span = tuple[int, int]
_Key = tuple[float | None, ...]


@dataclass(frozen=True)
class _Job:
    """One video file and the clips that are cut from it."""

    path: str
    folder: Path
    clips: tuple[tuple[str, Clip], ...]
    """Each with its place in a manifest."""


@dataclass(frozen=True)
class _Result:
    num_frames: int = 0
    was_there: bool = False
    spans: tuple[_Span | str, ...] = ()
    """First frame of each clip and the one after its last; or why it has none."""
    error: str | None = None
    """Why the whole video has no frames."""


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
    repeated: folders that are there are counted again and kept. `extraction.json` remembers which video each folder
    belongs to. Windows in seconds become windows in frames. Videos that cannot be decoded, and windows that lie
    outside of theirs, are left out of the manifests and listed in `failures.csv`.

    Args:
        manifests: what to extract, read from files of different names.
        out: new folder, or one that an earlier call with the same settings has begun.
        settings: size, names and quality of the frames.
        num_workers: processes.
        progress: called with the number of videos done and of all.

    Raises:
        ConfigError: settings out of range.
        DataError: the folder holds something else, frames with other settings or of other videos; two manifests have
            one name; two videos would share a folder; or a clip is a folder of frames already.
    """
    settings, out = settings or ExtractionSettings(), Path(out)
    check_extraction(**asdict(settings))
    names = [f"{Path(manifest.source).stem}.csv" for manifest in manifests]
    if len(set(names)) < len(names):
        raise DataError(f"manifests of the same name would be written to {out}: {', '.join(names)}; rename one")
    clips = _clips_by_video(manifests)
    earlier = _read_record(out)
    top = _common_folder(clips) if earlier is None else Path(earlier["top"])
    folders = _name_folders(clips, top, {} if earlier is None else earlier["videos"])
    sources = {name: os.path.abspath(manifest.source) for name, manifest in zip(names, manifests, strict=True)}  # noqa: PTH100
    _write_record(out, earlier, settings=settings, top=top, manifests=sources, videos=folders)
    paths = {_inside(path, top): path for path in clips}
    jobs = [
        _Job(paths[video], out / FRAMES / folder, tuple(clips[paths[video]].values()))
        for folder, video in folders.items()
        if video in paths
    ]

    results: dict[str, _Result] = {}
    extracted = map_in_processes(partial(_extract, settings=settings), jobs, num_workers=num_workers, jobs_a_turn=4)
    for job, result in zip(jobs, extracted, strict=True):
        results[job.path] = result
        if progress:
            progress(len(results), len(jobs))
    failures = [(path, result.error) for path, result in results.items() if result.error is not None]
    spans: dict[tuple[str, _Key], _Span] = {}
    for job in jobs:
        for (where, clip), span in zip(job.clips, results[job.path].spans, strict=False):  # none where the video failed
            if isinstance(span, str):
                failures.append((job.path, f"{where}: {span}"))
            else:
                spans[job.path, _key(clip)] = span
    _write_failures(out / "failures.csv", failures, of=results)
    folder_of = {job.path: job.folder for job in jobs}
    for name, manifest in zip(names, manifests, strict=True):
        write_csv(out / name, _manifest(manifest, out, folder_of, results, spans, settings.pattern))
    done = [result for result in results.values() if result.error is None]
    return Extraction(
        num_extracted=sum(not result.was_there for result in done),
        num_found=sum(result.was_there for result in done),
        num_frames=sum(result.num_frames for result in done),
        failures=tuple(failures),
        manifests=tuple(out / name for name in names),
    )


def estimate_extraction(manifest: Manifest, settings: ExtractionSettings | None = None) -> Estimate | None:
    """Extracts the videos of a small manifest for a moment; None if none of them can be decoded."""
    settings = settings or ExtractionSettings()
    num_bytes, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (path, clips) in enumerate(_clips_by_video([manifest]).items()):
            job = _Job(path, Path(folder, str(number)), tuple(clips.values()))
            start = time.monotonic()
            if _extract(job, settings).error is None:
                seconds.append(time.monotonic() - start)
                num_bytes.append(sum(path.stat().st_size for path in job.folder.iterdir()))
    return Estimate(statistics.mean(num_bytes), statistics.mean(seconds)) if seconds else None


def _clips_by_video(manifests: Sequence[Manifest]) -> dict[str, dict[_Key, tuple[str, Clip]]]:
    """The different clips of each video file, each with its place in a manifest."""
    clips_of: dict[str, dict[_Key, tuple[str, Clip]]] = {}
    for manifest in manifests:
        for clip in manifest.clips:
            if Path(clip.path).is_dir():
                raise DataError(f"{manifest.where(clip)}: {clip.path} is a folder of frames already; give video files")
            clips_of.setdefault(clip.path, {}).setdefault(_key(clip), (manifest.where(clip), clip))
    return clips_of


def _key(clip: Clip) -> _Key:
    return (*clip.window, clip.num_frames)


def _common_folder(paths: Iterable[str]) -> Path:
    folders = [Path(os.path.abspath(path)).parent for path in paths]  # noqa: PTH100 - without .. and links as they are
    return Path(os.path.commonpath(folders)) if folders else Path()


def _inside(path: str, top: Path) -> str:
    """A video's path below the common folder.

    Raises:
        DataError: it is not below it.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    if not absolute.is_relative_to(top):
        raise DataError(f"{path}: is not in {top}, whose videos' frames are in this folder; choose another with --out")
    return absolute.relative_to(top).as_posix()


def _name_folders(paths: Iterable[str], top: Path, earlier: Mapping[str, str]) -> dict[str, str]:
    """The video of each folder of frames, those of earlier calls included; both relative.

    Raises:
        DataError: two videos would share a folder, or one's folder would lie in another's.
    """
    videos = dict(earlier)
    for path in paths:
        video = _inside(path, top)
        folder = str(PurePosixPath(video).with_suffix(""))
        if videos.setdefault(folder, video) != video:
            raise DataError(f"{video} and {videos[folder]} would both have their frames in {folder}; rename one")
    for folder in videos:
        for parent in map(str, PurePosixPath(folder).parents):
            if parent in videos:
                raise DataError(f"{videos[folder]} would have its frames inside those of {videos[parent]}; rename one")
    return videos


def _read_record(out: Path) -> dict[str, Any] | None:
    """What an earlier call noted; None for a new or an empty folder."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return {key: found[key] for key in ("settings", "top", "manifests", "videos")}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out}: exists and holds no extracted frames; choose a new or an empty folder") from None


def _write_record(
    out: Path,
    earlier: Mapping[str, Any] | None,
    *,
    settings: ExtractionSettings,
    top: Path,
    manifests: Mapping[str, str],
    videos: Mapping[str, str],
) -> None:
    """Notes what the folder holds, unless an earlier call noted something else.

    Raises:
        DataError: it did.
    """
    if earlier is not None:
        if earlier["settings"] != asdict(settings):
            raise DataError(
                f"{out}: holds frames with {earlier['settings']}, asked: {asdict(settings)}; delete it or choose "
                "another folder"
            )
        for name, source in manifests.items():
            if earlier["manifests"].get(name, source) != source:
                raise DataError(
                    f"{out / name}: is the manifest of {earlier['manifests'][name]} and would be replaced by that of "
                    f"{source}; choose another folder"
                )
        manifests = earlier["manifests"] | manifests
    record = {"settings": asdict(settings), "top": str(top), "manifests": manifests, "videos": videos}
    write_text(out / RECORD, json.dumps(record, indent=2) + "\n")


def _extract(job: _Job, settings: ExtractionSettings) -> _Result:
    try:
        with open_for_extraction(job.path, short_side=settings.short_side) as video:
            spans = tuple(_span(clip, video) for _, clip in job.clips)
            was_there = job.folder.exists()
            if was_there and not _is_whole(job.folder, settings.pattern, video.num_frames):
                shutil.rmtree(job.folder)
                was_there = False
            if not was_there:
                extract_frames(video, job.folder, pattern=settings.pattern, quality=settings.quality)
            return _Result(video.num_frames, was_there, spans)
    except VideoError as error:
        return _Result(error=str(error))


def _span(clip: Clip, video: VideoReader) -> _Span | str:
    try:
        return frame_range(clip, video)
    except VideoError as error:
        return str(error)


def _is_whole(folder: Path, pattern: str, num_frames: int) -> bool:
    try:
        return len(numbered_files(folder, pattern)) == num_frames
    except VideoError:
        return False


def _write_failures(path: Path, failures: Sequence[tuple[str, str]], *, of: Container[str]) -> None:
    """Lists what failed now, and what failed in earlier calls and was not tried now."""
    rows: list[Sequence[str]] = list(failures)
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            rows += [row for row in list(csv.reader(file))[1:] if row[0] not in of]
    if rows:
        write_csv(path, [("path", "reason"), *rows])
    else:
        path.unlink(missing_ok=True)


def _manifest(
    manifest: Manifest,
    out: Path,
    folders: dict[str, Path],
    results: dict[str, _Result],
    spans: dict[tuple[str, _Key], _Span],
    pattern: str,
) -> Iterator[tuple[object, ...]]:
    """The rows of the manifest of frames that stands for one of videos, its header first."""
    yield "path", "label", "first_frame", "last_frame", "num_frames", "frame_pattern", "group"
    for clip in manifest.clips:
        span: tuple[int | None, int | None] | None = spans.get((clip.path, _key(clip)))
        if span is None:
            continue
        result = results[clip.path]
        if span == (0, result.num_frames):
            span = None, None
        folder = folders[clip.path].relative_to(out).as_posix()
        yield folder, clip.label, *span, result.num_frames, pattern, clip.group
