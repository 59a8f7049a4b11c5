"""Which clips go into which step, forward pass and process."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """The clips behind one update of the weights.

    `shares[i][r]` holds the indices that process `r` reads for forward pass `i`.
    """

    shares: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def num_clips(self) -> int:
        """Clips of all passes and processes."""
        return sum(len(share) for shares in self.shares for share in shares)

    def of(self, process: int) -> list[tuple[int, ...]]:
        """The indices that one process reads, one entry a forward pass; some may be empty."""
        return [shares[process] for shares in self.shares]


def count_steps(num_clips: int, *, batch_size: int, grad_accum_steps: int, num_processes: int) -> int:
    """Updates of the weights an epoch."""
    return math.ceil(num_clips / (batch_size * grad_accum_steps * num_processes))


def plan_epoch(
    num_clips: int, *, seed: int, epoch: int, batch_size: int, grad_accum_steps: int, num_processes: int
) -> list[Step]:
    """Shuffles the clips of one epoch and deals them out.

    Every clip is seen exactly once. What does not divide evenly is spread over all steps, whose sizes differ by one
    at most, instead of leaving a small last batch with noisy statistics and gradients. The clips of a step and of a
    forward pass depend on `batch_size * num_processes` alone, so that two processes see what one sees at double the
    batch size.

    Args:
        num_clips: Clips of the training set.
        seed: With `epoch`, fixes the order.
        epoch: Which pass over the clips, from 0.
        batch_size: Most clips a forward pass and process.
        grad_accum_steps: Most forward passes a step.
        num_processes: Processes that share each forward pass.
    """
    order = list(range(num_clips))
    random.Random(f"order/{seed}/{epoch}").shuffle(order)
    num_steps = count_steps(
        num_clips, batch_size=batch_size, grad_accum_steps=grad_accum_steps, num_processes=num_processes
    )
    steps = []
    for clips in split_evenly(order, num_steps):
        passes = split_evenly(clips, math.ceil(len(clips) / (batch_size * num_processes)))
        steps.append(Step(tuple(tuple(tuple(share) for share in split_evenly(p, num_processes)) for p in passes)))
    return steps


def split_evenly(items: Sequence[T], num_parts: int) -> list[Sequence[T]]:
    """Cuts a sequence into neighbouring parts whose lengths differ by one at most, the longer ones first."""
    size, longer = divmod(len(items), num_parts)
    ends = [size * (i + 1) + min(i + 1, longer) for i in range(num_parts)]
    return [items[start:end] for start, end in zip([0, *ends], ends, strict=False)]
