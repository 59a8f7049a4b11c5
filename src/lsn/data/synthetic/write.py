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
from lsn.data.synthetic import gestures, long, motion
from lsn.errors import ConfigError, DataError, did_you_mean, shown
from lsn.files import new_folder, read_text, write_csv, write_text
from lsn.parsing import parse_json
from lsn.video import write_video

_RECORD = "synthetic.json"
_VERSION = 2  # raise it whenever the same parameters give other pixels


@dataclass(frozen=True)
class SyntheticSet:
    """A data set on disk: the manifests of its two splits and its class names in label order."""

    train: Path
    val: Path
    labels: tuple[str, ...]


class _Render(Protocol):
    def __call__(
        self, rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int
    ) -> list[tuple[str, NDArray[np.uint8]]]: ...


@dataclass(frozen=True)
class _Kind:
    render: _Render
    labels: tuple[str, ...]
    videos_per_render: int
    size: int  # height of the frames, and their number, when not asked otherwise
    num_frames: int
    min_frames: int
    aspect: float
    crf: int  # 0 is lossless: reversed clips stay exact reversals, no artefact shows which end came first


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
        classes = len(kind.labels)
        for name in ("num_train", "num_val"):
            count = getattr(self, name)
            holds = count >= classes and count % classes == 0
            _require(holds, name, count, f"a multiple of the {classes} classes of kind {self.kind!r}, and not 0")
        _require(self.size >= 32 and self.size % 2 == 0, "size", self.size, "an even number of pixels, at least 32")
        _require(self.num_frames >= kind.min_frames, "num_frames", self.num_frames, f"at least {kind.min_frames}")
        _require(self.fps > 0, "fps", self.fps, "above 0")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")


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
    kind: Literal["motion", "long", "gestures"],
    num_train: int,
    num_val: int,
    size: int | None = None,
    num_frames: int | None = None,
    fps: float = 15.0,
    seed: int = 0,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SyntheticSet:
    """Writes the videos and manifests of an embedded data set, or finds them already written.

    "motion" holds five pairs of motions that are exact time-reversals of each other, "long" two short events
    whose order is the class, "gestures" ten paths drawn by a fingertip. Videos of the first two come as a clip
    and its exact reversal, both in the same split, coded without loss. Pixels depend on the parameters only,
    not on the number of workers. The folder appears when it is complete: an interrupted call leaves nothing
    that a later one would mistake for a data set.

    Args:
        folder: where to write `train.csv`, `val.csv`, the videos and `synthetic.json`.
        kind: which data set.
        num_train: videos to train on, over all classes; a multiple of the number of classes.
        num_val: videos to validate on, likewise.
        size: height of the frames in pixels, even; by default 96, long 64, gestures 120. Gestures are wider by a
            third, the others square.
        num_frames: frames per video; by default 16, long 48, gestures 32.
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
    request = _Request(
        kind,
        num_train,
        num_val,
        size=_KINDS[kind].size if size is None else size,
        num_frames=_KINDS[kind].num_frames if num_frames is None else num_frames,
        fps=float(fps),
        seed=seed,
    )
    request.check()
    check_num_workers(num_workers)
    result = SyntheticSet(folder / "train.csv", folder / "val.csv", _KINDS[kind].labels)
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
    rows: dict[str, list[tuple[str, str]]] = {"train": [], "val": []}
    done = 0
    for job, written in zip(jobs, _run(jobs, num_workers), strict=True):
        rows[job.split] += written
        done += len(written)
        if progress:
            progress(done, total)
    for split, split_rows in rows.items():
        write_csv(folder / f"{split}.csv", [("path", "label"), *sorted(split_rows)])


def _run(jobs: Sequence[_Job], num_workers: int) -> Iterator[list[tuple[str, str]]]:
    if num_workers == 0:
        yield from map(_write_videos, jobs)
        return
    yield from map_in_processes(_write_videos, jobs, num_workers=num_workers, jobs_a_turn=8)


def _write_videos(job: _Job) -> list[tuple[str, str]]:
    """Renders and encodes the videos of a job; returns their rows of the manifest."""
    request, kind = job.request, _KINDS[job.request.kind]
    rng = np.random.default_rng([request.seed, ("train", "val").index(job.split), job.number])
    width = 2 * round(request.size * kind.aspect / 2)
    rows = []
    clips = kind.render(rng, job.number, num_frames=request.num_frames, height=request.size, width=width)
    for label, frames_THWC in clips:
        path = f"{job.split}/{label.replace(' ', '_')}/{job.number:05d}.mp4"
        write_video(job.folder / path, frames_THWC, fps=request.fps, crf=kind.crf)
        rows.append((path, label))
    return rows


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"synthetic {name} is {shown(value)}; it must be {expected}")
