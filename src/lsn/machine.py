"""Settings of the machine that networks run on."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1  # the numbers of malloc.h
_M_MMAP_THRESHOLD = -3
_KEEP_BYTES, _KEEP_LITTLE_BYTES = 1 << 30, 1 << 25


def tune_allocator(*, spare_memory: bool = False) -> bool:
    """Lets glibc's malloc keep large freed blocks instead of handing them back to the kernel.

    A network on the CPU frees and asks for the same large tensors again and again; by default each one is mapped and
    cleared anew, page by page. The command line and every training run call it. Other C libraries are left as they are.

    Args:
        spare_memory: keep small blocks only. Kept ones leave holes, which made a training step with gradient
            checkpointing take twice the memory that it needs.

    Returns:
        Whether the thresholds were set.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt")):
        return False
    keep = _KEEP_LITTLE_BYTES if spare_memory else _KEEP_BYTES
    accepted = [libc.mallopt(option, keep) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return all(accepted)
