"""Writes a synthetic data set: H.264 files, a manifest for each split, and a record of what was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lsn.data.loading.workers import check_num_workers, map_in_processes
from lsn.data.synthetic import gesture_timeline, gestures, long, motion, timeline
from lsn.errors import ConfigError, DataError, did_you_mean, shown
from lsn.files import new_folder, read_text, write_csv, write_text
from lsn.parsing import parse_json
from lsn.video import write_video

_RECORD = "synthetic.json"
_VERSION = 2  # raise it whenever the same parameters give other pixels


@dataclass(frozen=True)
class SyntheticSet:
    """A data set on disk: the manifests of its two splits, its class names in label order, and its videos."""

    train: Path
    val: Path
    labels: tuple[str, ...]
    num_train: int
    num_val: int


Kind = Literal["motion", "long", "gestures", "timeline", "gesture_timeline"]


class _RenderClips(Protocol):
    def __call__(
        self, rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int
    ) -> list[tuple[str, NDArray[np.uint8]]]: ...


class _RenderTimelines(Protocol):
    def __call__(
        self, rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int, fps: float
    ) -> list[tuple[list[timeline.LabelledFrames], NDArray[np.uint8]]]: ...


@dataclass(frozen=True)
class _Kind:
    render: _RenderClips | None
    labels: tuple[str, ...]
    videos_per_render: int
    size: int  # height of the frames, and their number, when not asked otherwise
    num_frames: int
    min_frames: int
    aspect: float
    crf: int  # 0 is lossless: reversed clips stay exact reversals, no artefact shows which end came first
    num_train: int = 1000  # videos, when not asked otherwise
    num_val: int = 200
    render_timelines: _RenderTimelines | None = None

    @property
    def multiple(self) -> int:
        """What the numbers of videos are multiples of: each class has as many, and a video and its reverse belong
        together."""
        return self.videos_per_render if self.render_timelines else len(self.labels)


_KINDS = {
    "motion": _Kind(
        motion.render, motion.LABELS, videos_per_render=2, size=96, num_frames=16, min_frames=4, aspect=1, crf=0
    ),
    "long": _Kind(
        long.render,
        long.LABELS,
        videos_per_render=2,
        size=64,
        num_frames=48,
        min_frames=long.MIN_FRAMES,
        aspect=1,
        crf=0,
    ),
    "gestures": _Kind(
        gestures.render,
        gestures.LABELS,
        videos_per_render=1,
        size=120,
        num_frames=32,
        min_frames=8,
        aspect=4 / 3,
        crf=18,
    ),
    "timeline": _Kind(
        None,
        motion.LABELS,
        videos_per_render=2,
        size=96,
        num_frames=450,
        min_frames=60,
        aspect=1,
        crf=0,
        num_train=200,
        num_val=40,
        render_timelines=timeline.render,
    ),
    "gesture_timeline": _Kind(
        None,
        gestures.LABELS,
        videos_per_render=1,
        size=120,
        num_frames=450,
        min_frames=60,
        aspect=4 / 3,
        crf=18,
        num_train=200,
        num_val=40,
        render_timelines=gesture_timeline.render,
    ),
}


@dataclass(frozen=True)
class _Request:
    """What was asked for; equal requests give equal videos."""

    kind: str
    num_train: int
    num_val: int
    size: int
    num_frames: int
    fps: float
    seed: int
    version: int = _VERSION

    def check(self) -> None:
        kind = _KINDS[self.kind]
        classes = "" if kind.render_timelines else f" the {kind.multiple} classes of kind {self.kind!r}"
        what = f"a multiple of{classes or f' {kind.multiple}'}"
        for name in ("num_train", "num_val"):
            count = getattr(self, name)
            _require(count >= kind.multiple and count % kind.multiple == 0, name, count, f"{what}, and not 0")
        _require(self.size >= 32 and self.size % 2 == 0, "size", self.size, "an even number of pixels, at least 32")
        _require(self.num_frames >= kind.min_frames, "num_frames", self.num_frames, f"at least {kind.min_frames}")
        _require(self.fps > 0, "fps", self.fps, "above 0")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")


_Row = tuple[str, ...]  # of a manifest


@dataclass(frozen=True)
class _Job:
    """One rendering, and where its videos belong."""

    request: _Request
    split: str
    number: int
    folder: Path


def write_synthetic(
    folder: str | Path,
    *,
    kind: Kind,
    num_train: int | None = None,
    num_val: int | None = None,
    size: int | None = None,
    num_frames: int | None = None,
    fps: float = 15.0,
    seed: int = 0,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SyntheticSet:
    """Writes the videos and manifests of an embedded data set, or finds them already written.

    "motion" holds five pairs of motions that are exact time-reversals of each other, "long" two short events whose
    order is the class, "gestures" ten paths drawn by a fingertip; "timeline" and "gesture_timeline" are long videos
    with the motions and the gestures as events. Pixels depend on the parameters only. The folder appears when it is
    complete: an interrupted call leaves nothing that a later one would mistake for a data set.

    Args:
        folder: where to write `train.csv`, `val.csv`, the videos and `synthetic.json`.
        kind: which data set.
        num_train: videos to train on, by default 1000, of timelines 200; of clips a multiple of the classes.
        num_val: videos to validate on, by default 200, of timelines 40; likewise.
        size: height of the frames in pixels, even; by default 96, long 64, gestures 120. Gestures are wider by a
            third, the others square.
        num_frames: frames per video; by default 16, long 48, gestures 32, timelines 450.
        fps: frames per second.
        seed: fixes every pixel; training and validation videos never share a rendering.
        num_workers: processes that render and encode; 0 does it in this one.
        progress: called with the number of videos written and the number of all videos.

    Raises:
        ConfigError: a parameter is out of range.
        DataError: the folder holds something else, or a set written with other parameters.
    """
    folder = Path(folder)
    if kind not in _KINDS:
        raise ConfigError(f"synthetic kind {kind!r} does not exist; {did_you_mean(str(kind), _KINDS)}")
    default = _KINDS[kind]
    request = _Request(
        kind,
        default.num_train if num_train is None else num_train,
        default.num_val if num_val is None else num_val,
        size=default.size if size is None else size,
        num_frames=default.num_frames if num_frames is None else num_frames,
        fps=float(fps),
        seed=seed,
    )
    request.check()
    check_num_workers(num_workers)
    result = SyntheticSet(folder / "train.csv", folder / "val.csv", default.labels, request.num_train, request.num_val)
    if _already_written(folder, request):
        return result

    with new_folder(folder) as partial:
        _write_all(partial, request, num_workers, progress)
        write_text(partial / _RECORD, json.dumps(asdict(request), indent=2) + "\n")
    return result


def _already_written(folder: Path, request: _Request) -> bool:
    """Whether the folder holds the very set; raises DataError if it holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = parse_json(read_text(folder / _RECORD, "record", error=DataError))
    except (DataError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{folder}: exists and is no synthetic data set; choose a new or an empty folder")
    asked = asdict(request)
    if found != asked:
        changes = ", ".join(f"{k} {shown(found.get(k))} (asked: {v!r})" for k, v in asked.items() if found.get(k) != v)
        raise DataError(f"{folder}: holds a synthetic data set with {changes}; delete it or choose another folder")
    return True


def _write_all(folder: Path, request: _Request, num_workers: int, progress: Callable[[int, int], None] | None) -> None:
    per_render = _KINDS[request.kind].videos_per_render
    total = request.num_train + request.num_val
    jobs = [
        _Job(request, split, number, folder)
        for split, count in (("train", request.num_train), ("val", request.num_val))
        for number in range(count // per_render)
    ]
    rows: dict[str, list[_Row]] = {"train": [], "val": []}
    done = 0
    for job, written in zip(jobs, _run(jobs, num_workers), strict=True):
        rows[job.split] += written
        done += per_render
        if progress:
            progress(done, total)
    times = ("start_seconds", "end_seconds") if _KINDS[request.kind].render_timelines else ()
    for split, split_rows in rows.items():
        write_csv(folder / f"{split}.csv", [("path", "label", *times), *sorted(split_rows, key=lambda row: row[0])])


def _run(jobs: Sequence[_Job], num_workers: int) -> Iterator[list[_Row]]:
    if num_workers == 0:
        yield from map(_write_videos, jobs)
        return
    yield from map_in_processes(_write_videos, jobs, num_workers=num_workers, jobs_a_turn=8)


def _write_videos(job: _Job) -> list[_Row]:
    """Renders and encodes the videos of a job; returns their rows of the manifest."""
    request, kind = job.request, _KINDS[job.request.kind]
    rng = np.random.default_rng([request.seed, ("train", "val").index(job.split), job.number])
    width = 2 * round(request.size * kind.aspect / 2)
    rows: list[_Row] = []
    if kind.render is not None:
        clips = kind.render(rng, job.number, num_frames=request.num_frames, height=request.size, width=width)
        for label, frames_THWC in clips:
            path = f"{job.split}/{label.replace(' ', '_')}/{job.number:05d}.mp4"
            write_video(job.folder / path, frames_THWC, fps=request.fps, crf=kind.crf)
            rows.append((path, label))
    if kind.render_timelines is not None:
        size, fps = (request.num_frames, request.size, width), request.fps
        videos = kind.render_timelines(rng, job.number, num_frames=size[0], height=size[1], width=size[2], fps=fps)
        for number, (events, frames_THWC) in enumerate(videos):
            path = f"{job.split}/{job.number * kind.videos_per_render + number:05d}.mp4"
            write_video(job.folder / path, frames_THWC, fps=fps, crf=kind.crf)
            rows += [(path, label, f"{start / fps:.6f}", f"{end / fps:.6f}") for label, start, end in events]
            rows += [] if events else [(path, "", "", "")]
    return rows


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"synthetic {name} is {shown(value)}; it must be {expected}")
