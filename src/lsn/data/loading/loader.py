"""Batches of clips, read in this process or by workers."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import torch
from torch.utils.data import DataLoader

from lsn.data.loading.dataset import Batch, ClipDataset
from lsn.data.loading.step_sampler import Step
from lsn.data.loading.workers import WorkerDied, check_num_workers, exit_with_parent, starting_workers
from lsn.errors import LSNError, VideoError

logger = logging.getLogger(__name__)

_DEAD_WORKER = (
    "a process that reads videos died (killed, or out of memory or of shared memory in /dev/shm); "
    "lower data.num_workers or the batch size, or set data.num_workers=0 to read in the main process"
)
_DEAD_SERVER = (
    "the processes that read videos could not be started: the server that starts them died (killed, or out of memory); "
    "run the same command again, or set data.num_workers=0 to read in the main process"
)


class LoadedBatch(Protocol):
    """What a loader looks at in a batch."""

    unreadable: list[tuple[int, str]]
    """Number and error of what could not be read."""
    failure: LSNError | None
    """An error that is nobody's data's fault."""


B = TypeVar("B", bound=LoadedBatch)
B_co = TypeVar("B_co", bound=LoadedBatch, covariant=True)


class BatchDataset(Protocol[B_co]):
    """Samples by index that a loader makes batches of."""

    on_unreadable: Literal["raise", "skip"]
    """Stop at what cannot be read, or leave it out."""
    unreadable: dict[int, str]
    """Error of all that was left out so far, by number."""

    def __getitem__(self, index: int) -> Any:
        """A sample."""

    def collate(self, samples: Sequence[Any]) -> B_co:
        """A batch of samples."""


def make_loader(
    dataset: ClipDataset,
    *,
    indices: Sequence[int],
    batch_size: int,
    num_workers: int,
    device: torch.device | None = None,
) -> BatchLoader[Batch]:
    """Batches of the clips at `indices`, in that order; the last batch may be smaller.

    With workers, a script must start its work under `if __name__ == "__main__":`, as with any library that
    starts processes.

    Args:
        dataset: the clips.
        indices: which clips, in which order.
        batch_size: clips per batch.
        num_workers: processes that read clips; 0 reads in this one. It does not change the batches.
        device: where the batches go next; for a GPU they are laid where it can copy them from while it computes.

    Raises:
        ConfigError: the number of workers is negative.
    """
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    return BatchLoader(dataset, batches, num_workers=num_workers, device=device)


def load_steps(
    dataset: ClipDataset, steps: Sequence[Step], *, num_workers: int, device: torch.device | None = None
) -> Generator[list[Batch], None, None]:
    """Yields all the batches of each step together; close it to end the workers before the last step.

    A worker reads a batch at a time, so what waits in memory does not grow with the forward passes per step.

    Args:
        dataset: the clips.
        steps: of a `StepSampler`.
        num_workers: as of `make_loader`.
        device: likewise.

    Raises:
        LSNError: as of `BatchLoader`.
    """
    loader = BatchLoader(
        dataset, [batch for step in steps for batch in step.batches], num_workers=num_workers, device=device
    )
    with closing(iter(loader)) as batches:
        for step in steps:
            yield list(islice(batches, len(step.batches)))


class BatchLoader(DataLoader[Any], Generic[B]):
    """A DataLoader whose failures are one clear error in the main process.

    Args:
        dataset: the samples.
        batches: indices of the samples of each batch; a batch may be empty.
        num_workers: as of `make_loader`.
        device: likewise.
    """

    def __init__(
        self,
        dataset: BatchDataset[B],
        batches: Sequence[Sequence[int]],
        *,
        num_workers: int,
        device: torch.device | None = None,
    ) -> None:
        check_num_workers(num_workers)
        num_workers = min(num_workers, sum(len(batch) > 0 for batch in batches))  # more would have nothing to do
        self.source = dataset
        super().__init__(
            cast(Any, dataset),
            batch_sampler=cast(Sequence[list[int]], batches),
            num_workers=num_workers,
            pin_memory=device is not None and device.type == "cuda",
            collate_fn=dataset.collate,
            worker_init_fn=exit_with_parent,
            multiprocessing_context=_worker_context() if num_workers else None,
            # Without one of its own, every pass would draw from (and so change) torch's global generator.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Generator[B, None, None]:  # type: ignore[override]
        """Yields the batches.

        Raises:
            VideoError: something cannot be read, and the dataset does not skip it.
            WorkerDied: a worker died.
            ConfigError: the reader or a frame pattern is not what it must be.
        """
        batches = None
        try:
            batches = self._start()
            while (batch := self._next(batches)) is not None:
                if batch.failure is not None:
                    raise batch.failure
                for index, message in batch.unreadable:
                    _report_unreadable(self.source, index, message)
                yield batch
        finally:
            del batches  # ends the workers now, even if a traceback keeps this frame

    def _start(self) -> Iterator[Any]:
        """Starts the workers, if there are any."""
        if self.num_workers == 0:
            return super().__iter__()
        try:
            with starting_workers():
                return super().__iter__()
        except (OSError, EOFError) as error:
            raise WorkerDied(_DEAD_SERVER) from error

    def _next(self, batches: Iterator[Any]) -> B | None:
        """The next batch; None after the last."""
        try:
            return next(batches, None)
        except (RuntimeError, OSError, EOFError) as error:
            # Torch re-raises what a worker raised as "Caught X in DataLoader worker": that is a bug to be seen.
            if self.num_workers == 0 or str(error).startswith("Caught "):
                raise
            raise WorkerDied(_DEAD_WORKER) from error


def _report_unreadable(dataset: BatchDataset[Any], index: int, message: str) -> None:
    if dataset.on_unreadable == "raise":
        raise VideoError(f"{message}; mend or remove it, or set data.on_unreadable=skip to leave such videos out")
    if index not in dataset.unreadable:
        logger.warning("left out: %s", message)
        dataset.unreadable[index] = message


def _worker_context() -> BaseContext:
    """How workers start.

    A forked copy of a process that has threads (torch's, the decoder's, CUDA's) can wait for ever on a lock that
    no thread of the copy will release. So workers are forked from a server process that has imported what this
    process has of LSN and runs no threads: safe, and after the first one each start takes a fraction of a second
    where a fresh interpreter would import torch again. Torch runs each worker single-threaded.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # It has no effect once the server runs, and modules imported since are imported by each worker.
    context.set_forkserver_preload([name for name in sys.modules if name.startswith("lsn.")])
    with starting_workers():
        forkserver.ensure_running()
    return context
