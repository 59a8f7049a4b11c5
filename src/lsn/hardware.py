"""The machine: its cores, threads, memory, devices and signals."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.errors import ConfigError, shown

if TYPE_CHECKING:
    import torch

_STOP_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
STOP_SIGNALS = tuple(getattr(signal, name) for name in _STOP_NAMES if hasattr(signal, name))
"""All that ask a process to end, the last one as some schedulers do; Windows has only the first two."""

_M_TRIM_THRESHOLD = -1  # the numbers of malloc.h
_M_MMAP_THRESHOLD = -3
_KEEP_BYTES, _KEEP_LITTLE_BYTES = 1 << 30, 1 << 26
_CGROUP = Path("/sys/fs/cgroup")

BRIEF_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""Environment of a process whose OpenMP threads sleep while they wait for each other.

Those of GNU's OpenMP, which PyTorch has on Linux, first spin for a moment, about as long as it takes to wake a
thread: without that, a network of many small operations would be slow on a machine of its own. What other counts
cost is in docs/benchmarks.md.
"""


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process can keep busy: those that it may run on, or fewer where its container has a quota.

    Args:
        cgroup: Where Linux states the quota of a container, of version 1 or 2.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, int(min(cores, _quota(cgroup))))


def num_threads() -> int:
    """Threads that a computation may have: `OMP_NUM_THREADS`, as for PyTorch, or one for each usable core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else usable_cores()


def tune_threads(cgroup: Path = _CGROUP) -> None:
    """Makes PyTorch's threads good neighbours, in everything that the user has not set.

    There would be one for each core of the machine, and where a container has a quota the kernel would stop them all
    whenever it is spent. And they would spin while they wait for each other: on a core that another process needs, and
    often for the very thread that this process keeps from running. See `BRIEF_WAITING`.

    It has an effect until PyTorch is imported; the command line calls it first. Processes that are started later, such
    as workers, inherit it.
    """
    if _quota(cgroup) < math.inf:
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores(cgroup)))
    if not BRIEF_WAITING.keys() & os.environ.keys():
        os.environ.update(BRIEF_WAITING)


def resolve_device(name: str | torch.device) -> torch.device:
    """The device that a name stands for; "auto" is a GPU if there is one.

    Raises:
        ConfigError: there is no such device, or it cannot be used.
    """
    import torch  # here, since what sets the threads must come before it

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # the meta device has tensors, but no numbers in them
        if device.type == "cpu" and device.index:
            raise ValueError("all processors together are one device, cpu")
    except Exception as error:  # a backend that is not there fails in every way
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        message = f"device {shown(str(name))} cannot be used ({reason}); use cpu, cuda, cuda:1, mps or auto"
        raise ConfigError(message) from None
    return device


def _quota(cgroup: Path) -> float:
    """Cores' worth of time that the container may use, rounded up; infinite without a quota."""
    try:
        if (version_2 := cgroup / "cpu.max").exists():
            quota, period = version_2.read_text().split()
        else:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        share = float(quota.replace("max", "inf")) / float(period)
    except (OSError, ValueError):
        return math.inf
    return math.ceil(share) if 0 < share < math.inf else math.inf


def tune_allocator(*, spare_memory: bool = False) -> bool:
    """Lets glibc's malloc keep large freed blocks instead of handing them back to the kernel.

    A network on the CPU frees and asks for the same large tensors again and again; by default each one is mapped and
    cleared again, page by page. The command line and every training run call it. Other C libraries stay as they
    are.

    Args:
        spare_memory: keep blocks up to 64 MiB only. Kept ones leave holes, which made a training step with gradient
            checkpointing take twice the memory that it needs.

    Returns:
        Whether the thresholds were set.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt")):
        return False
    largest = _KEEP_LITTLE_BYTES if spare_memory else _KEEP_BYTES
    thresholds = {_M_MMAP_THRESHOLD: largest, _M_TRIM_THRESHOLD: _KEEP_BYTES}
    accepted = [libc.mallopt(option, size) for option, size in thresholds.items()]
    return all(accepted)
