"""Compares two sides that run in turns in one process, so that what else the machine does falls on both."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

RESULTS = "LSN_BENCHMARK_RESULTS"
"""Environment variable: a file to which each comparison is appended, as a line of JSON."""


def compare(name: str, left: Callable[[], object], right: Callable[[], object], turns: int) -> float:
    """Times both sides in turns; prints the ratio of the turns as median and quartiles, and returns the median."""
    times = np.array([[seconds(left), seconds(right)] for _ in range(turns + 1)])[1:]  # the first turn warms up
    low, middle, high = np.percentile(times[:, 0] / times[:, 1], (25, 50, 75)).tolist()
    (left_ms, right_ms), (left_99, right_99) = 1000 * np.percentile(times, (50, 99), axis=0)
    print(
        f"{name}: {middle:.2f} (quartiles {low:.2f} to {high:.2f}); median {left_ms:.1f} and {right_ms:.1f} ms, "
        f"99th percentile {left_99:.1f} and {right_99:.1f} ms",
        flush=True,
    )
    if path := os.environ.get(RESULTS):
        ratio = {"name": name.strip(), "ratio": middle, "quartiles": [low, high]}
        medians = {"left_ms": float(left_ms), "right_ms": float(right_ms)}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(ratio | medians) + "\n")
    return middle


def seconds(run: Callable[[], object]) -> float:
    """Wall clock of one call, with what it has a GPU do."""
    finish_gpu()
    start = time.perf_counter()
    run()
    finish_gpu()
    return time.perf_counter() - start


def finish_gpu() -> None:
    """Waits for what a GPU, if one is in use, has still to do."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


@contextmanager
def full_float32() -> Iterator[None]:
    """Without TF32, whose rounding would hide an error: for checks before the clock starts."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
