"""The parts of the work that a user waits for, each measured in a process of its own.

A process of its own, so that the memory of one part is not what another has left.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Literal

import torch
from torch import Tensor

from lsn.config import EvaluationConfig, InputConfig
from lsn.data.loading.workers import WorkerDied, map_in_processes
from lsn.distributed import World
from lsn.errors import ConfigError, LSNError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.hardware import tune_allocator
from lsn.inference.runtimes.names import RuntimeName
from lsn.inference.runtimes.opening import GRAPH_RUNTIMES, open_model
from lsn.inference.source import open_source
from lsn.models import Recognizer, create_model
from lsn.models.compile import compile_model
from lsn.models.weights import LoadedModel, is_weights_folder, load_weights
from lsn.profiling.timing import Figure, check_seconds, time_runs
from lsn.streaming.engine import StreamEngine
from lsn.training.step import ClipPass, Precision, StepContext, train_step
from lsn.video import write_video

Part = Literal["training", "test", "stream", "decode", "transform"]
PARTS: tuple[Part, ...] = ("training", "test", "stream", "decode", "transform")
"""What is measured, in this order."""


@dataclass(frozen=True)
class Bench:
    """What is measured, and for how long."""

    model: str
    """A weights folder, or a name of `create_model`."""
    device: str = "cpu"
    """cpu, cuda, cuda:1 or mps."""
    batch_size: int = 4
    """Clips a pass in training and test."""
    num_frames: int | None = None
    """Frames per clip; by default those of the model."""
    size: int | None = None
    """Side of the frames that the network sees, in pixels; by default that of the weights, or 224."""
    precision: Precision = "float32"
    """Of training."""
    runtime: RuntimeName = "pytorch"
    """What runs it; that of an export has no training."""
    videos: tuple[str, ...] = ()
    """Videos for `decode` and `transform`; without any, a synthetic one."""
    seconds: float = 5.0
    """Time for each part, at least."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_frames", "size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if self.runtime in GRAPH_RUNTIMES and not is_weights_folder(self.model):
            raise ConfigError(f"{self.runtime} runs what lsn export wrote; give the weights folder instead of a name")
        if self.runtime in GRAPH_RUNTIMES and (self.size, self.num_frames) != (None, None):
            raise ConfigError(f"the graphs for {self.runtime} have a size and a number of frames; leave both out")
        check_seconds(self.seconds)

    def load(self) -> LoadedModel:
        """The model, with the input of its weights or of the usual kind.

        Raises:
            WeightsError: the weights cannot be read.
            ModelError: there is no such model.
        """
        if is_weights_folder(self.model):
            loaded = load_weights(self.model)
        else:
            loaded = LoadedModel(create_model(self.model), (), InputConfig(), {})
        if self.size is None:
            return loaded
        short_side = round(self.size * loaded.input.short_side / loaded.input.size)
        return replace(loaded, input=replace(loaded.input, size=self.size, short_side=short_side))


def measure(bench: Bench, part: Part) -> Figure | None:
    """Measures one part in a fresh process.

    Returns:
        None if the model has no such part: one that looks ahead does not stream, and graphs do not train.

    Raises:
        LSNError: the model or a video cannot be read, or the process was killed, as by a lack of memory.
    """
    if part == "training" and bench.runtime in GRAPH_RUNTIMES:
        return None
    context = multiprocessing.get_context("spawn")
    try:
        (figure,) = map_in_processes(
            partial(_measure_here, bench), [part], num_workers=1, jobs_a_turn=1, context=context
        )
    except WorkerDied as error:
        raise LSNError(
            f"the process that measured {part} was killed, most likely for lack of memory; lower the batch size"
        ) from error
    return figure


def _measure_here(bench: Bench, part: Part) -> Figure | None:
    tune_allocator()
    torch.manual_seed(0)
    loaded, device = bench.load(), torch.device(bench.device)
    num_frames, size = bench.num_frames or loaded.model.num_frames, loaded.input.size
    clips = f"{bench.batch_size} clips of {num_frames} frames, {size}x{size}"

    def timed(run: Callable[[], object], what: str, unit: str, units: int) -> Figure:
        return time_runs(run, part=part, what=what, unit=unit, units=units, seconds=bench.seconds, device=device)

    if part == "training":
        run = training_step(
            loaded.model,
            device,
            batch_size=bench.batch_size,
            num_frames=num_frames,
            size=size,
            precision=bench.precision,
            compile=bench.runtime == "compiled",
        )
        return timed(run, clips, "clips", bench.batch_size)
    if part in ("decode", "transform"):
        protocol = replace(EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig()), num_frames=num_frames)
        with _videos(bench.videos) as (videos, name):
            run = _reading(protocol, videos) if part == "decode" else _transforming(protocol, videos[0])
            return timed(run, f"{num_frames} frames of {name}", "videos", 1)
    if part == "stream" and not loaded.model.is_causal:
        return None
    weights = bench.model if bench.runtime in GRAPH_RUNTIMES else loaded
    runtime = open_model(weights, bench.runtime, device=device).runtime
    if part == "stream":
        engine = StreamEngine(runtime, 1)
        slot, frame_CHW = engine.acquire(), _noise(1, 1, size)[0, 0].numpy()
        return timed(lambda: engine.step({slot: frame_CHW}), f"1 frame, {size}x{size}", "frames", 1)
    views_BTCHW = _noise(bench.batch_size, num_frames, size).numpy()
    return timed(lambda: runtime.forward_frames(views_BTCHW), clips, "clips", bench.batch_size)


def training_step(
    model: Recognizer,
    device: torch.device,
    *,
    batch_size: int,
    num_frames: int,
    size: int,
    precision: Precision,
    compile: bool,
) -> Callable[[], object]:
    """A step of `lsn train` with SGD on clips of noise, without the reading; the model is moved and trained."""
    model.train()
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        compile_model(model)
    context = StepContext(
        model,
        torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9),
        torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        World(0, 1, device),
        precision=precision,
        clip_grad_norm=20.0,
    )
    passes = [ClipPass(_noise(batch_size, num_frames, size), torch.zeros(batch_size, dtype=torch.int64))]
    return lambda: train_step(context, passes, where="the measurement", num_items=batch_size)


def _noise(batch_size: int, num_frames: int, size: int) -> Tensor:
    return torch.randint(0, 256, (batch_size, num_frames, 3, size, size), dtype=torch.uint8)


def _reading(protocol: EvaluationProtocol, videos: Sequence[str]) -> Callable[[], object]:
    """Opens the next video and decodes its frames."""
    turns = cycle(videos)

    def run() -> None:
        with open_source(next(turns)) as reader:
            reader.frames_at(protocol.indices(reader))

    return run


def _transforming(protocol: EvaluationProtocol, video: str) -> Callable[[], object]:
    with open_source(video) as reader:
        frames_THWC = reader.frames_at(protocol.indices(reader)).frames_THWC
    return lambda: protocol.crops(frames_THWC)


@contextmanager
def _videos(given: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """The videos, or a synthetic one, with their name."""
    if given:
        yield given, given[0] if len(given) == 1 else f"{len(given)} videos in turn"
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/noise.mp4"
        coarse = torch.rand(90, 3, 16, 21, generator=torch.Generator().manual_seed(0))
        frames_TCHW = torch.nn.functional.interpolate(coarse, size=(240, 320), mode="bilinear")
        write_video(path, (255 * frames_TCHW).byte().permute(0, 2, 3, 1).numpy(), fps=30)
        yield [path], "a synthetic H.264 video of 3 s, 320x240"
