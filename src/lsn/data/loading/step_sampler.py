"""Which clips go into which step, forward pass and process."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """The clips behind one update of the weights, as one process sees it."""

    batches: tuple[tuple[int, ...], ...]
    """Indices of the clips that this process reads, one batch per forward pass; a batch may be empty."""
    num_clips: int
    """Clips of all forward passes and processes."""


@dataclass(frozen=True)
class StepSampler:
    """Shuffles the clips of each epoch and deals them out in whole steps.

    Every clip is seen exactly once per epoch. What does not divide evenly is spread over all steps, whose sizes differ
    by one at most, instead of leaving a small last batch with noisy statistics and gradients. The clips of a step and
    of a forward pass depend on `batch_size * num_processes` alone, so that two processes see what one sees at double
    the batch size.
    """

    num_clips: int
    """Clips of the training set."""
    batch_size: int
    """Most clips per forward pass and process."""
    grad_accum_steps: int = 1
    """Most forward passes per step."""
    seed: int = 0
    """With the epoch, fixes the order."""
    rank: int = 0
    """Number of this process."""
    num_processes: int = 1
    """Processes that share each forward pass."""
    num_planned: int | None = None
    """Processes for which the run was planned, whose forward passes are kept; None for those that share them."""
    shards: Sequence[str] | None = None
    """The file that each clip lies in."""
    shuffle_buffer: int | None = None
    """Clips that are shuffled together while the shards come one after the other; None shuffles all clips."""

    def __len__(self) -> int:
        """Steps per epoch."""
        return math.ceil(self.num_clips / self.clips_per_step)

    @property
    def clips_per_step(self) -> int:
        """Most clips behind one update of the weights, over all forward passes and processes."""
        return self._clips_per_pass * self.grad_accum_steps

    def steps(self, epoch: int) -> list[Step]:
        """The steps of an epoch, counted from 0, with the share of this process; the same whenever it is asked."""
        rng = random.Random(f"order/{self.seed}/{epoch}")
        if self.shuffle_buffer is None:
            order = list(range(self.num_clips))
            rng.shuffle(order)
        else:
            order = list(_shuffled_by_shard(self.shards or [""] * self.num_clips, self.shuffle_buffer, rng))
        return [self._step(clips) for clips in split_evenly(order, len(self))]

    def _step(self, clips: Sequence[int]) -> Step:
        passes = split_evenly(clips, math.ceil(len(clips) / self._clips_per_pass))
        batches = (split_evenly(of_pass, self.num_processes)[self.rank] for of_pass in passes)
        return Step(tuple(map(tuple, batches)), num_clips=len(clips))

    @property
    def _clips_per_pass(self) -> int:
        return self.batch_size * (self.num_planned or self.num_processes)


def _shuffled_by_shard(shards: Sequence[str], buffer_size: int, rng: random.Random) -> Iterator[int]:
    """All clips once, such that few shards are in use at a time: shards in random order, clips through a buffer."""
    clips_of: dict[str, list[int]] = {}
    for clip, shard in enumerate(shards):
        clips_of.setdefault(shard, []).append(clip)
    order = list(clips_of.values())
    rng.shuffle(order)
    buffer: list[int] = []
    for clip in itertools.chain.from_iterable(order):
        buffer.append(clip)
        if len(buffer) > buffer_size:
            chosen = rng.randrange(buffer_size)
            buffer[chosen], buffer[-1] = buffer[-1], buffer[chosen]
            yield buffer.pop()
    rng.shuffle(buffer)
    yield from buffer


def split_evenly(items: Sequence[T], num_parts: int) -> list[Sequence[T]]:
    """Cuts a sequence into neighbouring parts whose lengths differ by one at most, the longer ones first."""
    size, longer = divmod(len(items), num_parts)
    ends = [size * (i + 1) + min(i + 1, longer) for i in range(num_parts)]
    return [items[start:end] for start, end in zip([0, *ends], ends, strict=False)]
