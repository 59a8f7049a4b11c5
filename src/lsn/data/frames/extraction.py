"""Frames of whole data sets as folders of JPEGs: in parallel, resumable, and counted."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from lsn.data.clips.table import Clip, Manifest
from lsn.data.clips.writing import names_of_copies
from lsn.data.frames.record import ExtractionRecord, folder_of, read_record
from lsn.data.frames.video_job import ExtractionSettings, Span, VideoJob, VideoResult, extract_video
from lsn.data.loading.workers import map_in_processes
from lsn.errors import DataError, shown
from lsn.files import check_outputs, csv_rows, is_folder, read_text, remove_leftovers, write_csv
from lsn.remote import is_address
from lsn.video.decoding.archive import find_member
from lsn.video.writing.jpeg_frames import check_extraction

FRAMES, FAILURES = "frames", "failures.csv"
"""What a folder holds besides `extraction.json` and the manifests of frames."""


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


_Key = tuple[float | None, ...]


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
    sources = _sources_by_name(manifests, out)
    clips = _clips_by_video(manifests)
    if not clips:
        raise DataError(f"no clips in {', '.join(sources.values()) or 'no manifest'}; there is nothing to extract")
    record = _new_record(out, settings, clips, sources)
    record.write(out)
    jobs = [
        VideoJob(path, out / FRAMES, folder_of(record.name(path)), tuple(of_video.values()))
        for path, of_video in clips.items()
    ]
    results = _extract_all(jobs, settings, num_workers, progress)
    spans, failures = _spans_and_failures(jobs, results)
    _write_failures(out / FAILURES, failures, of=results)
    folders = {job.path: f"{FRAMES}/{job.folder}" for job in jobs}
    for name, manifest in zip(sources, manifests, strict=True):
        write_csv(out / name, _manifest(manifest, folders, results, spans, settings.pattern))
    for folder in {out, *((out / FRAMES / job.folder).parent for job in jobs)}:
        if folder.is_dir():
            remove_leftovers(folder)
    done = [result for result in results.values() if result.error is None]
    return Extraction(
        num_extracted=sum(not result.was_there for result in done),
        num_found=sum(result.was_there for result in done),
        num_frames=sum(result.num_frames for result in done),
        failures=tuple(failures),
        manifests=tuple(out / name for name in sources),
    )


def _sources_by_name(manifests: Sequence[Manifest], out: Path) -> dict[str, str]:
    """What the manifests of frames will be called, and the absolute paths of those that they are made from."""
    sources = [os.path.abspath(manifest.source) for manifest in manifests]  # noqa: PTH100
    names = names_of_copies(manifests, out)
    check_outputs([out / FAILURES, *(out / name for name in names)], sources)
    return dict(zip(names, sources, strict=True))


def _extract_all(
    jobs: Sequence[VideoJob],
    settings: ExtractionSettings,
    num_workers: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, VideoResult]:
    """What became of each video, by path."""
    results: dict[str, VideoResult] = {}
    extracted = map_in_processes(
        partial(extract_video, settings=settings), jobs, num_workers=num_workers, jobs_a_turn=4
    )
    for job, result in zip(jobs, extracted, strict=True):
        results[job.path] = result
        if progress:
            progress(len(results), len(jobs))
    return results


def _spans_and_failures(
    jobs: Sequence[VideoJob], results: Mapping[str, VideoResult]
) -> tuple[dict[tuple[str, _Key], Span], list[tuple[str, str]]]:
    """The frames of each clip, by path and window, and why the other videos and clips have none."""
    failures = [(path, result.error) for path, result in results.items() if result.error is not None]
    spans: dict[tuple[str, _Key], Span] = {}
    for job in jobs:
        for (where, clip), span in zip(job.clips, results[job.path].spans, strict=False):  # none where the video failed
            if isinstance(span, str):
                failures.append((job.path, f"{where}: {span}"))
            else:
                spans[job.path, _key(clip)] = span
    return spans, failures


def estimate_extraction(manifest: Manifest, settings: ExtractionSettings | None = None) -> Estimate | None:
    """Extracts the videos of a small manifest for a moment; None if none of them can be decoded."""
    settings = settings or ExtractionSettings()
    num_bytes, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (path, clips) in enumerate(_clips_by_video([manifest]).items()):
            job = VideoJob(path, Path(folder), str(number), tuple(clips.values()))
            start = time.monotonic()
            if extract_video(job, settings).error is None:
                seconds.append(time.monotonic() - start)
                num_bytes.append(sum(path.stat().st_size for path in (job.frames / job.folder).iterdir()))
    return Estimate(statistics.mean(num_bytes), statistics.mean(seconds)) if seconds else None


def _clips_by_video(manifests: Sequence[Manifest]) -> dict[str, dict[_Key, tuple[str, Clip]]]:
    """The different clips of each video file by its absolute path, each with its place in a manifest."""
    clips_of: dict[str, dict[_Key, tuple[str, Clip]]] = {}
    for manifest in manifests:
        for clip in manifest.clips:
            if is_address(clip.path) or find_member(clip.path) is not None:
                raise DataError(
                    f"{manifest.where(clip)}: {clip.path} is remote or in an archive; give files of this disk"
                )
            if is_folder(clip.path):
                raise DataError(f"{manifest.where(clip)}: {clip.path} is a folder of frames already; give video files")
            clips_of.setdefault(clip.file, {}).setdefault(_key(clip), (manifest.where(clip), clip))
    return clips_of


def _key(clip: Clip) -> _Key:
    return (*clip.window, clip.num_frames)


def _new_record(
    out: Path, settings: ExtractionSettings, paths: Iterable[str], manifests: Mapping[str, str]
) -> ExtractionRecord:
    """What the folder will hold, with what it held before.

    Raises:
        DataError: the folder was made with other settings or for other manifests, or videos are in each other's way.
    """
    record = read_record(out)
    if record is None:
        top = os.path.commonpath([Path(path).parent for path in paths])
        record = ExtractionRecord(asdict(settings), top, {}, {})
    if record.settings != asdict(settings):
        raise DataError(
            f"{out}: holds frames with {shown(record.settings, most=200)}, asked: {asdict(settings)}; delete it or "
            "choose another folder"
        )
    for name, source in manifests.items():
        if record.manifests.get(name, source) != source:
            raise DataError(
                f"{out / name}: is the manifest of {record.manifests[name]} and would be replaced by that of {source}; "
                "choose another folder"
            )
    return replace(record, manifests={**record.manifests, **manifests}).with_videos(paths)


def _write_failures(path: Path, failures: Sequence[tuple[str, str]], *, of: Container[str]) -> None:
    """Lists what failed now, and what failed in earlier calls and was not tried now."""
    rows: list[Sequence[str]] = list(failures)
    if path.exists():
        text = read_text(path, "list of failures", error=DataError, errors="surrogateescape")
        try:
            earlier = [row for _, row in csv_rows(text)][1:]
        except ValueError as error:
            raise DataError(f"{path} {error}") from None
        rows += [row for row in earlier if row[0] not in of]
    if rows:
        write_csv(path, [("path", "reason"), *rows])
    else:
        path.unlink(missing_ok=True)


def _manifest(
    manifest: Manifest,
    folders: dict[str, str],
    results: dict[str, VideoResult],
    spans: dict[tuple[str, _Key], Span],
    pattern: str,
) -> Iterator[tuple[object, ...]]:
    """The rows of the manifest of frames that stands for one of videos, its header first."""
    yield "path", "label", "first_frame", "last_frame", "num_frames", "frame_pattern", "group"
    for clip in manifest.clips:
        path = clip.file
        span: tuple[int | None, int | None] | None = spans.get((path, _key(clip)))
        if span is None:
            continue
        result = results[path]
        if span == (0, result.num_frames):
            span = None, None
        yield folders[path], clip.label, *span, result.num_frames, pattern, clip.group
