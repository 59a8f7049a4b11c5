"""Several processes that train one network, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lsn.errors import LSNError
from lsn.hardware import resolve_device

LONGEST_WAIT = timedelta(hours=12)
"""For which processes wait for one that validates a long video or writes the report; torchrun ends all if one dies."""
_groups = count()


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them."""

    rank: int
    """Number of this process, from 0."""
    size: int
    """Number of processes."""
    device: torch.device
    """Where this process computes."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the processes; itself in a single process."""
        if self.size == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums of the values over the processes, the same on each."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, items: list[Any]) -> list[Any]:
        """The items of all processes, in the order of the ranks, the same on each."""
        if self.size == 1:
            return items
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def raise_on_all_ranks(self, error: LSNError | OSError | None, *, wish: bool = False) -> bool:
        """Raises the error of any process in all of them, so that none waits for one that is gone.

        Args:
            error: Of this process.
            wish: What this process asks for.

        Returns:
            Whether any process has the wish, the same on each.
        """
        num_errors, num_wishes = self.sum([error is not None, wish])
        if num_errors:
            raise self.gather([] if error is None else [error])[0]
        return num_wishes > 0

    @contextmanager
    def errors_on_all_ranks(self) -> Iterator[None]:
        """Raises the errors of a block that some processes run, of LSN and of the system, in all of them."""
        error: LSNError | OSError | None = None
        try:
            yield
        except (LSNError, OSError) as caught:
            error = caught
        self.raise_on_all_ranks(error)

    def share_buffers(self, model: nn.Module) -> None:
        """Gives every process the buffers of the first, such as the statistics of its batch norms."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


def current_world(device: torch.device | None = None) -> World:
    """The processes of the process group that exists, such as in the block of `join_world`, or this one alone.

    Args:
        device: Where this process computes; the CPU unless it matters.
    """
    device = device or torch.device("cpu")
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size(), device)
    return World(0, 1, device)


@contextmanager
def join_world(device_name: str) -> Iterator[World]:
    """Joins the processes that torchrun started, or stands alone when there is no torchrun.

    A process group that exists already is used and left open.

    Args:
        device_name: "cpu", "cuda", "cuda:1", "mps" or "auto"; with several processes, "cuda" and "auto" give each
            process of a machine its own GPU.

    Raises:
        ConfigError: the device is not there.
    """
    is_torchrun = int(os.environ.get("WORLD_SIZE", "1")) > 1
    is_ours = is_torchrun and not dist.is_initialized()
    device = resolve_device(device_name)
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) if is_torchrun else torch.cuda.current_device())
        torch.cuda.set_device(device)
    if is_ours:
        store, rank, size = next(dist.rendezvous("env://"))
        store = dist.PrefixStore(f"lsn/{_attempt()}/{next(_groups)}", store)  # apart from what others left
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT)
    try:
        world = current_world(device)
        yield world
        if world.size > 1:
            dist.barrier()  # nobody leaves before all is written
    finally:
        if is_ours:
            dist.destroy_process_group()


def _attempt() -> str:
    """How often torchrun has started these processes again; on several machines it may count differently on each."""
    is_one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if is_one_machine else "0"


def without_sync(model: nn.Module) -> AbstractContextManager[Any]:
    """Keeps gradients to the process, for all but the last forward pass of a step."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
