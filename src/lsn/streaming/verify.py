"""Proof that one checkpoint gives the same numbers as a clip, as a stream and as one of many streams.

Shapes: T frames, C = 3 channels, H height, W width, B streams, K classes.
"""

from __future__ import annotations

import math
import multiprocessing
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lsn.data.loading.workers import map_in_processes
from lsn.errors import ConfigError, VideoError
from lsn.inference.runtimes.contract import Runtime
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.inference.source import open_source
from lsn.models import Recognizer
from lsn.models.prepare import prepare_for_inference
from lsn.models.weights import LoadedModel, load_weights, weights_folder
from lsn.streaming.engine import StreamEngine
from lsn.video.eval_transform import EvalTransform

TOLERANCE = 1e-4
"""Largest difference of float32 logits that rounding explains."""
MIN_FRAMES, MAX_FRAMES = 4, 4096
"""Frames to compare on; they are held in memory."""
NUM_STREAMS = 8
SEED = 0


@dataclass(frozen=True)
class Check:
    """One way of computing, compared with the clip."""

    name: str
    """What was compared."""
    difference: float
    """Largest difference of the logits."""
    limit: float
    """The most that it may be; for a control, the least that it must be."""
    is_control: bool = False
    """Whether it must differ: what shows that the other checks can fail."""

    @property
    def passed(self) -> bool:
        """Whether it came out as it must."""
        return self.difference > self.limit if self.is_control else self.difference <= self.limit


def verify(
    weights: str | Path,
    video: str | Path | None = None,
    *,
    num_frames: int = 32,
    tolerance: float = TOLERANCE,
    is_compiled: bool = False,
) -> list[Check]:
    """Compares a model's ways of computing on one video, on the CPU in float32.

    The clip in one call is compared with the same frames one by one, in chunks, in a pool in which other streams join,
    leave, are reset and run at other rates, and against a stream that is saved in the middle and continued in
    another process. For models with a memory or a shift a control makes sure that the past matters at all.

    Args:
        weights: a weights folder.
        video: a video file or a folder of frames; by default frames of moving noise.
        num_frames: frames to compare on, at least 4; the first ones of the video.
        tolerance: largest difference of logits that is let pass.
        is_compiled: hold the clip in one call, still not compiled, against the network as a compiler makes it.

    Raises:
        ConfigError: too few or too many frames, or no finite tolerance.
        ModelError: the model cannot stream.
        WeightsError: the weights cannot be read.
        VideoError: the video cannot be read.
    """
    check_limits(num_frames, tolerance)
    weights = weights_folder(weights)  # the other process too reads what this one does
    loaded = load_weights(weights)
    model = loaded.model
    model.init_state(1, 32, 32)  # says it now if the model cannot stream
    clip_TCHW = frames_to_compare(loaded, video, num_frames)
    prepared = prepare_for_inference(model, device="cpu", compile=is_compiled)
    with torch.inference_mode():
        expected_TK = model.forward_frames(clip_TCHW[None])[0]
        one_by_one, chunks = [1] * len(clip_TCHW), _chunk_sizes(len(clip_TCHW))
        checks = [
            Check("frame by frame", _difference(_in_chunks(prepared, clip_TCHW, one_by_one), expected_TK), tolerance),
            Check("in chunks", _difference(_in_chunks(prepared, clip_TCHW, chunks), expected_TK), tolerance),
            Check(
                f"in a batch of {NUM_STREAMS} streams",
                streams_difference(model, _runtime(prepared, clip_TCHW), clip_TCHW),
                tolerance,
            ),
            Check("saved, then continued in another process", _saved_difference(weights, model, clip_TCHW), 0.0),
        ]
        if model.memory or model.shift:
            alone_TK = torch.cat([model.step(frame_CHW[None])[0] for frame_CHW in clip_TCHW])
            name = "control: each frame by itself must differ"
            checks.append(Check(name, _difference(alone_TK[1:], expected_TK[1:]), 10 * tolerance, is_control=True))
    return checks


def check_limits(num_frames: int, tolerance: float) -> None:
    """Refuses too few or too many frames, or no finite tolerance.

    Raises:
        ConfigError: it is one of these.
    """
    if not MIN_FRAMES <= num_frames <= MAX_FRAMES:
        raise ConfigError(f"{num_frames} frames to compare on; it must be between {MIN_FRAMES} and {MAX_FRAMES}")
    if not 0 <= tolerance < math.inf:
        raise ConfigError(f"tolerance is {tolerance}; it must be a finite number, 0 or more")


def frames_to_compare(loaded: LoadedModel, video: str | Path | None, num_frames: int) -> Tensor:
    """Neighbouring frames as the model sees them, uint8 TCHW: the first ones of a video, or moving noise.

    Raises:
        VideoError: the video cannot be read, or is shorter.
    """
    size, short_side = loaded.input.size, loaded.input.short_side
    transform = EvalTransform(size=size, short_side=short_side, num_crops=1)
    if video is None:
        generator = torch.Generator().manual_seed(SEED)
        coarse = torch.randint(0, 256, (num_frames, 3, 8, 8), generator=generator, dtype=torch.uint8).float()
        noise_TCHW = torch.nn.functional.interpolate(coarse, size=(short_side, short_side), mode="bilinear").byte()
        return torch.from_numpy(transform(noise_TCHW.permute(0, 2, 3, 1).numpy())[0])
    with open_source(video) as reader:
        if reader.num_frames < num_frames:
            raise VideoError(f"{video}: {reader.num_frames} frames; {num_frames} are needed: take a longer video")
        return torch.from_numpy(reader.transformed_at(range(num_frames), lambda frames_THWC: transform(frames_THWC)[0]))


def _in_chunks(model: Recognizer, clip_TCHW: Tensor, sizes: list[int]) -> Tensor:
    state = model.init_state(1, *clip_TCHW.shape[-2:])
    logits = []
    for chunk_TCHW in clip_TCHW.split(sizes):
        chunk = chunk_TCHW[0] if len(chunk_TCHW) == 1 else chunk_TCHW
        logits_K, state = model.step(chunk[None], state)
        logits.append(logits_K[0].reshape(len(chunk_TCHW), -1))
    return torch.cat(logits)


def _chunk_sizes(total: int) -> list[int]:
    """Random sizes from 1 to 7 that add up to the total."""
    rng, sizes = random.Random(SEED), []
    while total:
        sizes.append(min(total, rng.randint(1, 7)))
        total -= sizes[-1]
    return sizes


@torch.inference_mode()
def streams_difference(model: Recognizer, runtime: Runtime, clip_TCHW: Tensor) -> float:
    """Streams of other parts of the video at random rates, that come and go, against the clip of each one's frames."""
    rng = random.Random(SEED)
    engine = StreamEngine(runtime, NUM_STREAMS)
    frames_TCHW = clip_TCHW.numpy()
    seen: dict[int, list[int]] = {}
    logits: dict[int, list[Tensor]] = {}
    worst = 0.0

    def settle(slot: int) -> float:
        """The difference of a stream that ends or is reset from the clip of the frames that it saw."""
        frames, scores = seen.pop(slot), logits.pop(slot)
        return _difference(torch.stack(scores), model.forward_frames(clip_TCHW[frames][None])[0]) if frames else 0.0

    for _ in range(2 * len(clip_TCHW)):
        while engine.num_streams < NUM_STREAMS and rng.random() < 0.5:
            slot = engine.acquire()
            seen[slot], logits[slot] = [], []
        for slot in [slot for slot in seen if rng.random() < 0.05]:
            worst = max(worst, settle(slot))
            if rng.random() < 0.5:
                engine.release(slot)
            else:
                engine.reset(slot)
                seen[slot], logits[slot] = [], []
        due = {slot: rng.randrange(len(clip_TCHW)) for slot in seen if rng.random() < 0.7}
        step = engine.step({slot: frames_TCHW[index] for slot, index in due.items()})
        for slot, index in due.items():
            seen[slot].append(index)
            logits[slot].append(torch.from_numpy(step.logits_of(slot)))
    return max([worst, *(settle(slot) for slot in list(seen))])


def _saved_difference(weights: str | Path, model: Recognizer, clip_TCHW: Tensor) -> float:
    """The second half of the frames after a state that went through a file, in a new process and in this one."""
    middle = len(clip_TCHW) // 2
    engine = StreamEngine(_runtime(model, clip_TCHW), 1)
    slot = engine.acquire()
    _each_step(engine, slot, clip_TCHW[:middle])
    with tempfile.TemporaryDirectory() as folder:
        engine.save(slot, Path(folder, "state.safetensors"), {})
        save_file({"frames": clip_TCHW[middle:].contiguous()}, Path(folder, "frames.safetensors"))
        here = torch.tensor(_each_step(engine, slot, clip_TCHW[middle:]))
        job = str(weights), folder, torch.get_num_threads()
        context = multiprocessing.get_context("spawn")
        (there,) = map_in_processes(_continue, [job], num_workers=1, jobs_a_turn=1, context=context)
    return _difference(torch.tensor(there), here)


def _continue(job: tuple[str, str, int]) -> list[list[float]]:
    """What the other process does."""
    weights, folder, num_threads = job
    torch.set_num_threads(num_threads)
    frames_TCHW = load_file(Path(folder, "frames.safetensors"))["frames"]
    engine = StreamEngine(_runtime(load_weights(weights).model, frames_TCHW), 1)
    slot = engine.acquire()
    engine.load(slot, Path(folder, "state.safetensors"))
    return _each_step(engine, slot, frames_TCHW)


def _each_step(engine: StreamEngine, slot: int, clip_TCHW: Tensor) -> list[list[float]]:
    return [engine.step({slot: frame_CHW}).logits_of(slot).tolist() for frame_CHW in clip_TCHW.numpy()]


def _runtime(model: Recognizer, clip_TCHW: Tensor) -> PyTorchRuntime:
    return PyTorchRuntime(model, height=clip_TCHW.shape[-2], width=clip_TCHW.shape[-1])


def _difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()
