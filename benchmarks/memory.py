"""Peak memory and time of a training step against the length of the clip, with and without gradient checkpointing.

Every row runs in a process of its own: the resident set is read before the first step and at its highest, as Linux
counts it, so everything that the step needs is in it. Times are the median of the steps after it.

    python benchmarks/memory.py --frames 16 32 64
    python benchmarks/memory.py --frames 512 --only with
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import torch
from interleave import seconds

import lsn
from lsn.hardware import tune_allocator
from lsn.models.layout import frames_channels_last
from lsn.training.batch_norm import freeze_batch_norm


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lsn_resnet50")
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-norm", choices=("train", "frozen"), default="train")
    parser.add_argument("--steps", type=int, default=3, help="that are timed")
    parser.add_argument("--only", choices=("with", "without"), help="checkpointing")
    options = parser.parse_args(arguments)
    print(f"{options.model}, one clip of {options.size} pixels, batch norms {options.batch_norm}")
    print(f"{'frames':>7}{'without':>18}{'with':>18}{'memory':>10}{'time':>8}")
    for num_frames in options.frames:
        rows = [
            measure(options, num_frames, checkpointing) if options.only in (None, name) else None
            for name, checkpointing in (("without", False), ("with", True))
        ]
        cells = "".join(f"{'-':>18}" if row is None else f"{f'{row[0]:.2f} GB {row[1]:.1f} s':>18}" for row in rows)
        ratios = ""
        if rows[0] and rows[1]:
            ratios = f"{rows[1][0] / rows[0][0]:10.2f}{rows[1][1] / rows[0][1]:8.2f}"
        print(f"{num_frames:7}{cells}{ratios}", flush=True)
    return 0


def measure(options: argparse.Namespace, num_frames: int, checkpointing: bool) -> tuple[float, float]:
    """Gigabytes and seconds, from a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(run, options, num_frames, checkpointing).result()


def run(options: argparse.Namespace, num_frames: int, checkpointing: bool) -> tuple[float, float]:
    torch.manual_seed(0)
    tune_allocator(spare_memory=checkpointing)  # as training does
    model = lsn.create_model(options.model, num_classes=174).to(memory_format=torch.channels_last).train()
    if options.batch_norm == "frozen":
        for norm in freeze_batch_norm(model, "frozen", new_names=set()):
            norm.eval()
    model.set_grad_checkpointing(checkpointing)
    clip_BTCHW = frames_channels_last(torch.randn(1, num_frames, 3, options.size, options.size))

    def step() -> None:
        model(clip_BTCHW).sum().backward()
        model.zero_grad(set_to_none=True)

    before = status("VmRSS")
    step()
    peak = status("VmHWM") - before
    return peak * 1024 / 1e9, median(seconds(step) for _ in range(options.steps))


def status(name: str) -> int:
    """Kilobytes, as /proc/self/status states them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.exit(main())
