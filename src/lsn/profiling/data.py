"""Where the time of a training goes: disk, decoding, transform or model."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import torch

from lsn.config import RunConfig
from lsn.data import ClipDataset, load_splits, make_loader
from lsn.data.clips.windows import local_path
from lsn.hardware import resolve_device, tune_allocator, usable_cores
from lsn.profiling.model import training_step
from lsn.profiling.timing import check_seconds, time_runs
from lsn.training.clips.task import clip_dataset
from lsn.training.clips.views import TrainingViews
from lsn.training.start import start_model
from lsn.video.decoding.archive import ArchiveMember, find_member
from lsn.video.transforms import TrainTransform

Work = Literal["disk", "decode", "transform"]

ROOM = 1.1
"""Reading that is faster than the model by less than this factor makes it wait now and then."""

MIN_BATCHES = 8
"""Batches that the loader is timed on."""

_WAYS: dict[Work, str] = {
    "disk": "put the videos on a faster disk, or make them smaller: `lsn data extract-frames` keeps frames with a "
    "short side of your choice.",
    "decode": "`lsn data extract-frames` decodes once and for all, and data.reader=torchcodec is another decoder.",
    "transform": "smaller frames on disk (`lsn data extract-frames`), input.color_jitter=0, "
    "input.rand_augment_layers=0.",
}


@dataclass(frozen=True)
class DataFigures:
    """How fast each part of a training is by itself."""

    num_clips: int
    """Clips that were looked at."""
    ms_a_clip: dict[Work, float]
    """Mean milliseconds that one process spends on a clip. What the system still holds in memory, no disk is asked."""
    num_workers: int
    """Processes that read, 0 for the one that trains."""
    read_per_second: float
    """Clips per second that all of them read, with no model beside."""
    trained_per_second: float
    """Clips per second that the model trains on, if it never waits."""
    device: str
    """Where it trains."""

    @property
    def bottleneck(self) -> Literal["model"] | Work:
        """What takes more time, the training or the reading; of the reading, the part that takes the most."""
        if self.read_per_second >= ROOM * self.trained_per_second:
            return "model"
        return max(self.ms_a_clip, key=lambda work: self.ms_a_clip[work])

    @property
    def workers_needed(self) -> int:
        """Processes that read as fast as the model trains, with room."""
        return math.ceil(ROOM * self.trained_per_second * sum(self.ms_a_clip.values()) / 1000)

    def advice(self) -> list[str]:
        """What would make the training faster, the most first."""
        cores = usable_cores()
        lines = []
        if self.num_workers < (wanted := min(max(1, self.workers_needed), cores)):
            alone = "without workers the model waits for every clip; " if self.num_workers == 0 else ""
            lines.append(f"Set data.num_workers={wanted}: {alone}{cores} cores are here.")
        if self.bottleneck == "model":
            on_gpu = "" if self.device == "cpu" else ", training.precision=bf16"
            lines.append(
                "The model takes more time than reading. Faster: training.compile=true, fewer frames "
                f"(model.num_frames), smaller ones (input.size){on_gpu}."
            )
        else:
            lines.append(f"The model waits for reading, most of it for {self.bottleneck}: {_WAYS[self.bottleneck]}")
        if self.device == "cpu":
            lines.append("On a CPU, readers and the model share the cores, so together both are slower than here.")
        return lines


def measure_data(config: RunConfig, *, num_clips: int = 64, seconds: float = 5.0) -> DataFigures:
    """Measures the reading and the training of a recipe, each by itself.

    Args:
        config: the recipe.
        num_clips: clips to look at, at most, evenly over the manifest.
        seconds: time for the training steps, at least.

    Raises:
        LSNError: the data is not sound, a clip cannot be read, the model does not exist, or the time is out of range.
    """
    check_seconds(seconds)
    tune_allocator()
    config.require_clips("measuring how clips are read (lsn data bench)")
    manifest, _ = load_splits(config.data, config.training.seed)
    step = max(1, math.ceil(len(manifest) / num_clips))
    manifest = replace(manifest, clips=manifest.clips[::step])
    device = resolve_device(config.training.device)
    fresh = replace(config.model, pretrained=False, backbone_weights=None, initial_weights=None)
    model = start_model(fresh, manifest.labels, seed=config.training.seed)
    dataset = clip_dataset(config, manifest, model)
    batch_size = config.training.batch_size
    ms_a_clip = _ms_a_clip(dataset)
    read_per_second = _rate_of_loader(dataset, batch_size, config.data.num_workers, device)
    run = training_step(
        model,
        device,
        batch_size=batch_size,
        num_frames=config.model.num_frames,
        size=config.input.size,
        precision=config.training.precision,
        compile=config.training.compile,
    )
    trained = time_runs(run, part="training", what="", unit="clips", units=batch_size, seconds=seconds, device=device)
    return DataFigures(
        num_clips=len(manifest),
        ms_a_clip=ms_a_clip,
        num_workers=config.data.num_workers,
        read_per_second=read_per_second,
        trained_per_second=trained.per_second,
        device=str(device),
    )


def _ms_a_clip(dataset: ClipDataset) -> dict[Work, float]:
    """One clip after the other in this process, with one thread, as a worker has."""
    timed = copy.copy(dataset)
    assert isinstance(dataset.make_views, TrainingViews)
    read, disk, transform = _Stopwatch(), _Stopwatch(), _Stopwatch()
    timed_transform = _TimedTransform(dataset.make_views.transform, transform)
    timed.make_views = replace(dataset.make_views, transform=timed_transform)  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for index, clip in enumerate(dataset.manifest.clips):
            disk(_read_bytes)(Path(local_path(clip)))
            error = read(timed.__getitem__)(index).error
            if error is not None and dataset.on_unreadable == "raise":
                raise error
    finally:
        torch.set_num_threads(threads)
    seconds: dict[Work, float] = {
        "disk": disk.seconds,
        "decode": read.seconds - transform.seconds,
        "transform": transform.seconds,
    }
    return {work: 1000 * total / len(dataset) for work, total in seconds.items()}


class _Stopwatch:
    """The seconds that calls of functions took in all."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured."""

        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return run(*args)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


class _TimedTransform:
    """The parts of a `TrainTransform`, measured."""

    def __init__(self, transform: TrainTransform, stopwatch: _Stopwatch) -> None:
        self.one_crop = lambda rng: stopwatch(transform.one_crop(rng))
        self.augment = stopwatch(transform.augment)


def _read_bytes(path: Path) -> None:
    if found := find_member(path):
        with closing(ArchiveMember(*found)) as member:
            for name in [None] if member.is_file() else member.names():
                member.read(name)
        return
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            file.read_bytes()


def _rate_of_loader(dataset: ClipDataset, batch_size: int, num_workers: int, device: torch.device) -> float:
    """Clips per second of the loader, once each worker has brought a batch; clips come again if they are few."""
    first = max(1, num_workers)
    indices = list(islice(cycle(range(len(dataset))), max(len(dataset), (MIN_BATCHES + first) * batch_size)))
    num_clips, start = 0, 0.0
    loader = make_loader(dataset, indices=indices, batch_size=batch_size, num_workers=num_workers, device=device)
    for number, batch in enumerate(loader, start=1):
        if number > first:
            num_clips += len(batch.labels_B) + len(batch.unreadable)
        elif number == first:
            start = time.perf_counter()
    return num_clips / (time.perf_counter() - start)
