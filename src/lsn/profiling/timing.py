"""Runs that are timed, and what becomes of their times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lsn.errors import ConfigError

MIN_RUNS = 3
"""Runs that are timed whatever they take, after one that warms up."""
MAX_SECONDS = 3600.0


def check_seconds(seconds: float) -> None:
    """Refuses a time that nothing can be measured for.

    Raises:
        ConfigError: it is not above 0, or more than an hour.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(f"seconds is {seconds}; it must be above 0 and at most {MAX_SECONDS:g}")


@dataclass(frozen=True)
class Figure:
    """What one part of the work took."""

    part: str
    """Which part."""
    what: str
    """What one run was."""
    unit: str
    """What is counted: clips, frames or videos."""
    per_second: float
    """Units a second, over all runs."""
    num_runs: int
    """Runs that were timed."""
    p50_ms: float
    """Median time of a run."""
    p95_ms: float | None
    """95th percentile; None of fewer than 20 runs."""
    p99_ms: float | None
    """99th percentile; None of fewer than 100 runs."""
    peak_bytes: int | None = None
    """Memory of the GPU that was taken at most, or the resident set of the process; None where it is not known."""


def time_runs(
    run: Callable[[], object], *, part: str, what: str, unit: str, units: int, seconds: float, device: torch.device
) -> Figure:
    """Times one call after the other until the seconds are over, after one call that is not counted.

    Args:
        run: what is timed.
        part: see `Figure`.
        what: likewise.
        unit: likewise.
        units: units that one run takes.
        seconds: how long to go on.
        device: is waited for after each run.
    """
    run()
    _wait(device)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < MIN_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    p50, p95, p99 = (float(1000 * np.percentile(times, q)) for q in (50, 95, 99))
    return Figure(
        part=part,
        what=what,
        unit=unit,
        per_second=units * len(times) / sum(times),
        num_runs=len(times),
        p50_ms=p50,
        p95_ms=p95 if len(times) >= 20 else None,
        p99_ms=p99 if len(times) >= 100 else None,
        peak_bytes=_peak_bytes(device),
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if device.type != "cpu" or not status.is_file():
        return None
    return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
