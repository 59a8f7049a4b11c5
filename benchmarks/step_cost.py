"""What a step of a stream costs beside a bare CNN on one frame, and beside running the whole window at each frame.

The sides take turns in one run; the ratio of each turn is printed as median and quartiles. That the step gives the
numbers of the window is checked first. On a GPU the step is also captured as a CUDA graph and replayed.

    python benchmarks/step_cost.py --model lsn_resnet50 --size 224 --compile
    python benchmarks/step_cost.py --model lsn_resnet50 --size 224 --compile --device cuda --turns 100
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Sequence

import numpy as np
import timm
import torch
from interleave import compare, full_float32

import lsn
from lsn.hardware import tune_allocator
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models.compile import compile_model
from lsn.models.prepare import prepare_for_inference
from lsn.models.state import StreamState
from lsn.streaming import StreamEngine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lsn_resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--frames", type=int, default=16, help="of the window")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--streams", type=int, default=8, help="of the batch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="every side, with frozen weights")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tune_allocator()
    model = (
        lsn.create_model(options.model, num_classes=174).eval().to(options.device, memory_format=torch.channels_last)
    )
    for name, parameter in model.memory.named_parameters():
        if parameter.ndim == 1 and name.endswith("weight"):
            torch.nn.init.constant_(parameter, 0.5)  # a memory that says something
    cnn = (
        timm.create_model(options.model.partition("_")[2], num_classes=174)
        .eval()
        .to(options.device, memory_format=torch.channels_last)
    )
    clip_BTCHW = torch.randn(1, options.frames, 3, options.size, options.size, device=options.device)
    frame_BCHW = clip_BTCHW[:, -1].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        prepared = prepare_for_inference(model, device=options.device)
        with full_float32():
            _, state = prepared.step(clip_BTCHW[:, :-1])
            after, _ = prepared.step(frame_BCHW, state)
            difference = (after - model.forward_frames(clip_BTCHW)[:, -1]).abs().max().item()
        print(f"step against window: largest difference {difference:.1e}")
        if difference > 1e-4:
            return 1
        run_cnn = cnn
        if options.compile:
            compare_compiled(prepared, clip_BTCHW, frame_BCHW, options)
            prepared = compiled_copy(prepared)
            torch._inductor.config.freezing = True  # as `compile_model` sets it around its calls
            run_cnn = torch.compile(cnn, fullgraph=True)
        step = lambda: prepared.step(frame_BCHW, state)  # noqa: E731
        compare("step / bare CNN on one frame", step, lambda: run_cnn(frame_BCHW), options.turns)
        if options.device.startswith("cuda"):
            replay = captured_step(prepared, frame_BCHW, state)
            compare("step / step as a CUDA graph", step, replay, options.turns)
            compare("step as a CUDA graph / bare CNN on one frame", replay, lambda: run_cnn(frame_BCHW), options.turns)
        if options.compile:
            compare("step / bare CNN that is not compiled", step, lambda: cnn(frame_BCHW), options.turns)
        compare(f"window of {options.frames} / step", lambda: prepared(clip_BTCHW), step, max(3, options.turns // 4))
        compare_batch(prepared, options)
    return 0


def compare_compiled(
    model: lsn.models.Recognizer, clip_BTCHW: torch.Tensor, frame_BCHW: torch.Tensor, options: argparse.Namespace
) -> None:
    """The network as it is against itself compiled, as clip and as step."""
    compiled = compiled_copy(model)
    _, state = model.step(clip_BTCHW[:, :-1])
    difference = (compiled.step(frame_BCHW, state)[0] - model.step(frame_BCHW, state)[0]).abs().max().item()
    print(f"compiled step against not compiled: largest difference {difference:.1e}")
    for name, run in {"step": lambda m: m.step(frame_BCHW, state), "window": lambda m: m(clip_BTCHW)}.items():
        turns = options.turns if name == "step" else max(3, options.turns // 4)
        compare(f"{name}, not compiled / compiled", lambda r=run: r(model), lambda r=run: r(compiled), turns)


def compiled_copy(model: lsn.models.Recognizer) -> lsn.models.Recognizer:
    """A copy that runs compiled, as predictors do."""
    model = copy.deepcopy(model)
    compile_model(model, frozen=True)
    return model


def captured_step(
    model: lsn.models.Recognizer, frame_BCHW: torch.Tensor, state: StreamState
) -> Callable[[], torch.Tensor]:
    """A step, recorded once, that goes on from where it last stood; checked against steps as they are."""
    standing = state.map(torch.clone)
    graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            model.step(frame_BCHW, standing)
    torch.cuda.current_stream().wait_stream(aside)
    with torch.cuda.graph(graph):
        logits_BK, after = model.step(frame_BCHW, standing)
        for name, tensor in standing.tensors().items():
            tensor.copy_(after.tensors()[name])

    def replay() -> torch.Tensor:
        graph.replay()
        return logits_BK

    for number in range(3):
        expected, state = model.step(frame_BCHW, state)
        if (difference := (replay() - expected).abs().max().item()) > 1e-4:
            raise SystemExit(f"CUDA graph, step {number}: the scores differ by {difference:.1e}")
    return replay


def compare_batch(model: lsn.models.Recognizer, options: argparse.Namespace) -> None:
    """One step for a batch of streams against a step of each stream alone."""
    runtime = PyTorchRuntime(model, height=options.size, width=options.size)
    engine = StreamEngine(runtime, options.streams)
    engines_alone = [StreamEngine(runtime, 1) for _ in range(options.streams)]
    shape = options.streams, 3, options.size, options.size
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)  # as cameras give them
    together = {engine.acquire(): frame for frame in frames}
    each = list(zip(engines_alone, [single.acquire() for single in engines_alone], frames, strict=True))
    logits = engine.step(together).logits
    alone = [single.step({slot: frame}).logits[slot] for single, slot, frame in each]
    difference = max(np.abs(logits[slot] - scores).max() for slot, scores in enumerate(alone))
    print(
        f"batch against streams alone: largest difference {difference:.1e}; "
        f"{engine.bytes_per_stream:,} bytes per stream"
    )

    def run_alone() -> None:
        for single, slot, frame in each:
            single.step({slot: frame})

    name = f"{options.streams} streams one by one / in one batch"
    compare(name, run_alone, lambda: engine.step(together), max(3, options.turns // 4))


if __name__ == "__main__":
    sys.exit(main())
