"""Exported graphs against the network in PyTorch: as clips, step by step, as many streams, for long, and after a save.

Shapes: B streams or clips, T frames, C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lsn.errors import ConfigError
from lsn.inference.runtimes.contract import Runtime
from lsn.inference.runtimes.description import ProofLine
from lsn.inference.runtimes.graph import GraphRuntime
from lsn.inference.runtimes.names import Precision, RuntimeName
from lsn.inference.runtimes.opening import open_model
from lsn.inference.runtimes.openvino import OpenVinoRuntime
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models import Recognizer
from lsn.models.weights import load_weights
from lsn.streaming.engine import StreamEngine
from lsn.streaming.verify import check_limits, frames_to_compare, streams_difference

BATCH_SIZES = (1, 3, 8)
MANY_STEPS = 1000
TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "fp16": 3e-2, "int8": 1.0}
"""Largest difference of logits, relative to the largest logit: in float32 what rounding explains; in int8, whose worth
is its accuracy, nothing but a gross error is larger."""
TOLERANCE = TOLERANCES["fp32"]


def verify_export(
    weights: str | Path,
    runtime: RuntimeName,
    video: str | Path | None = None,
    *,
    num_frames: int = 32,
    tolerance: float = TOLERANCE,
) -> tuple[ProofLine, ...]:
    """Compares an export with the weights in whose folder it lies.

    Args:
        weights: a weights folder.
        runtime: that of the export.
        video: a video file or a folder of frames; by default frames of moving noise.
        num_frames: frames to compare on, at least those of the model's clips.
        tolerance: largest difference that is let pass in float32, relative to the largest logit.

    Raises:
        ConfigError: too few or too many frames, or no finite tolerance; or the library is not installed.
        WeightsError: the weights or the export cannot be read, or do not belong together.
        ModelError: a graph cannot be run.
        VideoError: the video cannot be read, or is too short.
    """
    check_limits(num_frames, tolerance)
    ready, loaded = open_model(weights, runtime), load_weights(weights)
    if not isinstance(ready.runtime, GraphRuntime):
        raise ConfigError(f"{runtime} runs the weights themselves; compare onnx or openvino with them")
    frames_TCHW = frames_to_compare(loaded, video, max(num_frames, loaded.model.num_frames))
    precision = ready.runtime.description.precision
    tolerance = tolerance if precision == "fp32" else TOLERANCES[precision]
    return prove(loaded.model, ready.runtime, frames_TCHW, tolerance=tolerance)


@torch.inference_mode()
def prove(
    model: Recognizer, runtime: GraphRuntime, frames_TCHW: Tensor, *, tolerance: float = TOLERANCE
) -> tuple[ProofLine, ...]:
    """Compares graphs with the network that they were made of.

    Args:
        model: as it was loaded, on the CPU.
        runtime: runs the graphs.
        frames_TCHW: uint8, at least as many as the model's clips have.
        tolerance: largest difference that is let pass, relative to the largest logit.

    Raises:
        ModelError: a graph gives scores that are not finite.
    """

    def line(check: str, difference: float) -> ProofLine:
        return ProofLine(check, difference, tolerance)

    lines = [line(f"clips, {size} at a time", _clips(model, runtime, frames_TCHW, size)) for size in BATCH_SIZES]
    if runtime.description.step is None:
        return tuple(lines)
    reference = PyTorchRuntime(model, height=runtime.height, width=runtime.width, fingerprint=runtime.fingerprint)
    lines += [line(f"steps of {size} streams", _steps(reference, runtime, frames_TCHW, size)) for size in BATCH_SIZES]
    expected_TK = model.forward_frames(frames_TCHW[None])[0].numpy()
    if isinstance(runtime, OpenVinoRuntime):
        lines.append(
            line("a stream with its state inside", _relative(runtime.stream(frames_TCHW.numpy()), expected_TK))
        )
    joined = streams_difference(model, runtime, frames_TCHW) / float(np.abs(expected_TK).max())
    return (
        *lines,
        line("streams that join, leave and are reset", joined),
        line(f"{MANY_STEPS:,} steps", _many_steps(reference, runtime, frames_TCHW)),
        line("saved, then continued in PyTorch", _moved(runtime, reference, frames_TCHW)),
        line("saved in PyTorch, then continued", _moved(reference, runtime, frames_TCHW)),
    )


def _clips(model: Recognizer, runtime: GraphRuntime, frames_TCHW: Tensor, batch_size: int) -> float:
    """Clips that start at other frames of the video."""
    clips_BTCHW = torch.stack([frames_TCHW.roll(-start, 0)[: model.num_frames] for start in range(batch_size)])
    return _relative(runtime.forward_frames(clips_BTCHW.numpy()), model.forward_frames(clips_BTCHW).numpy())


def _steps(reference: Runtime, runtime: Runtime, frames_TCHW: Tensor, batch_size: int) -> float:
    """Streams that stand at other frames of the video."""
    frames = frames_TCHW.numpy()
    rolled_TBCHW = np.stack([np.roll(frames, -start, axis=0) for start in range(batch_size)], axis=1)
    found, expected = (np.stack(list(_logits(each, rolled_TBCHW))) for each in (runtime, reference))
    return _relative(found, expected)


def _many_steps(reference: Runtime, runtime: Runtime, frames_TCHW: Tensor) -> float:
    """The logits of one long stream; errors that add up show at its end."""
    frames = [frames_TCHW[number % len(frames_TCHW)].numpy()[None] for number in range(MANY_STEPS)]
    found, expected = (np.stack(list(_logits(each, frames))) for each in (runtime, reference))
    return _relative(found, expected)


def _moved(first: Runtime, second: Runtime, frames_TCHW: Tensor) -> float:
    """The second half of a stream whose state went from one runtime to another through a file."""
    middle = len(frames_TCHW) // 2
    start, end = frames_TCHW[:middle].numpy(), frames_TCHW[middle:].numpy()
    engines = [StreamEngine(first, 1), StreamEngine(second, 1)]
    slots = [engine.acquire() for engine in engines]
    for frame_CHW in start:
        engines[0].step({slots[0]: frame_CHW})
    with tempfile.TemporaryDirectory() as folder:
        engines[0].save(slots[0], Path(folder, "state.safetensors"), {})
        engines[1].load(slots[1], Path(folder, "state.safetensors"))
    stayed, moved = (
        np.stack([engine.step({slot: frame_CHW}).logits_of(slot) for frame_CHW in end])
        for engine, slot in zip(engines, slots, strict=True)
    )
    return _relative(moved, stayed)


def _logits(runtime: Runtime, frames_TBCHW: Sequence[np.ndarray] | np.ndarray) -> Iterator[np.ndarray]:
    num_streams = len(frames_TBCHW[0])
    states = runtime.allocate(num_streams)
    for frames_BCHW in frames_TBCHW:
        yield states.step(range(num_streams), frames_BCHW)


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest logit; infinite where the graph gives no numbers."""
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    return float(difference) if np.isfinite(difference) else float("inf")
