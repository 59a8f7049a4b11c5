"""Where the time of a clip and of a training step goes: stage by stage, and what of it is convolution.

From PyTorch's profiler, which measures how long every operation took: on a CPU that it ran, on a GPU that its
kernels ran. A backward operation counts for the stage of its forward one. What the profiler itself costs is seen in
the wall clock without it.

    python benchmarks/stage_profile.py
    python benchmarks/stage_profile.py --device cuda --batch 16 --precision bf16
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch
from interleave import seconds
from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

import lsn
from lsn.hardware import tune_allocator
from lsn.models.forward import eval_mode
from lsn.models.prepare import prepare_for_inference
from lsn.profiling.model import training_step

KINDS = ("convolutions", "recurrence: convolutions", "recurrence: gates, cell, sums", "norms", "the rest")
PART = "part: "


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lsn_resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tune_allocator()
    show("A clip", infer(options), options)
    show("A training step", train(options), options)
    return 0


def infer(options: argparse.Namespace) -> tuple[nn.Module, Callable[[], object]]:
    """The network as predictors run it, on clips of bytes."""
    device = torch.device(options.device)
    model = prepare_for_inference(lsn.create_model(options.model, num_classes=174), device=device)
    shape = options.batch, options.frames, 3, options.size, options.size
    clip_BTCHW = torch.randint(0, 256, shape, dtype=torch.uint8)

    def run() -> None:
        with eval_mode(model), torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            model(clip_BTCHW.to(device))

    return model, run


def train(options: argparse.Namespace) -> tuple[nn.Module, Callable[[], object]]:
    """A step as `lsn train` takes it, without the reading."""
    model = lsn.create_model(options.model, num_classes=174)
    step = training_step(
        model,
        torch.device(options.device),
        batch_size=options.batch,
        num_frames=options.frames,
        size=options.size,
        precision=options.precision,
        compile=False,
    )
    return model, step


def show(what: str, side: tuple[nn.Module, Callable[[], object]], options: argparse.Namespace) -> None:
    """Profiles some runs and prints milliseconds a run, by part and kind."""
    model, run = side
    on_gpu = options.device.startswith("cuda")

    def finished() -> None:
        run()
        if on_gpu:
            torch.cuda.synchronize()

    finished()
    wall_ms = 1000 * median(seconds(finished) for _ in range(options.turns))
    name_parts(model)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(options.turns):
            finished()
    table: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for part, kind, event in sorted_events(profiler.events()):
        spent_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        table[part][kind] += spent_us / 1000 / options.turns
    total_ms = sum(sum(row.values()) for row in table.values())
    print(f"{what}: {options.model}, {options.batch} x {options.frames} frames of {options.size}, {options.precision}")
    print(f"{wall_ms:.1f} ms by the clock, {total_ms:.1f} ms in operations under the profiler")
    print("| | " + " | ".join([*KINDS, "all"]) + " | share |")
    print("|---" * (len(KINDS) + 3) + "|")
    for part in sorted(table):
        print(line(part, table[part], total_ms))
    print(line("all", {kind: sum(row[kind] for row in table.values()) for kind in KINDS}, total_ms), flush=True)


def line(name: str, row: dict[str, float], total_ms: float) -> str:
    cells = [f"{row.get(kind, 0):.1f}" for kind in KINDS]
    return "| " + " | ".join([name, *cells, f"{sum(row.values()):.1f}", f"{sum(row.values()) / total_ms:.1%}"]) + " |"


def name_parts(model: nn.Module) -> None:
    """Makes the profiler see which stage runs."""
    for number, stage in enumerate(model.stages):
        for module in stage.modules:
            name(model.cnn.get_submodule(module), f"stage {number + 1}")
    for number, block in model.memory.items():
        name(block, f"stage {int(number) + 1}, its memory")


def name(module: nn.Module, part: str) -> None:
    running: list[record_function] = []

    def enter(*_: object) -> None:
        running.append(record_function(PART + part))
        running[-1].__enter__()

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(lambda *_: running.pop().__exit__(None, None, None))


def sorted_events(events: Sequence[FunctionEvent]) -> Iterator[tuple[str, str, FunctionEvent]]:
    """Every operation with its part and kind."""
    part_of_number: dict[int, str] = {}
    for event in events:
        if event.scope == 0 and event.sequence_nr >= 0 and (part := part_around(event)):
            part_of_number[event.sequence_nr] = part
    for event in events:
        if event.device_type != DeviceType.CPU:
            continue  # a kernel: its time is also that of the operation that launched it
        around = [event, *ancestors(event)]
        backward = next((e.sequence_nr for e in around if e.name.startswith("autograd::engine::evaluate")), None)
        part = part_around(event) or part_of_number.get(-1 if backward is None else backward)
        if part is None:
            optimizer = any(e.name.startswith("Optimizer.") for e in around)
            part = "the optimizer" if optimizer else "what is around the stages"
        yield part, kind_of([e.name.lower() for e in around]), event


def part_around(event: FunctionEvent) -> str | None:
    return next((e.name.removeprefix(PART) for e in [event, *ancestors(event)] if e.name.startswith(PART)), None)


def ancestors(event: FunctionEvent) -> Iterator[FunctionEvent]:
    while (event := event.cpu_parent) is not None:
        yield event


def kind_of(names: Sequence[str]) -> str:
    """From the names of an operation and of those that it is a part of."""
    recurrence = any("recurrence" in name for name in names)
    convolution = any("conv" in name for name in names)
    if recurrence:
        return KINDS[1] if convolution else KINDS[2]
    if convolution:
        return KINDS[0]
    return KINDS[3] if any("batch_norm" in name or "batchnorm" in name for name in names) else KINDS[4]


if __name__ == "__main__":
    sys.exit(main())
