"""Ray: here for as long as a batch runs, or a cluster that is there; and a pass over jobs on Ray Data."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import ray
import ray.data

from lsn.batch.stages import Setup
from lsn.errors import ConfigError, LSNError, shown

JOBS_PER_PASS = 2000
"""Ray keeps some kilobytes for each block that it knows of."""
_SHARE = 0.5
"""CPUs that Ray counts for a reader, and for a model on the CPU. As they are the same, Ray lets one process do both,
which copies nothing; models on GPUs have processes of their own, which readers feed."""


class Cluster:
    """Workers of Ray. Use it as a context manager.

    Args:
        address: of a cluster, or "auto" for the one of this machine; None starts Ray here, and ends it with the block.
        workers: processes that run the model, and as many that read; None for one per GPU or CPU core.
        device: of the models.

    Raises:
        ConfigError: there is no cluster at the address, or it has no GPU.
    """

    def __init__(self, address: str | None, workers: int | None, *, device: str) -> None:
        # Ray's own words are for its developers: what goes wrong is raised.
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the way of later versions, said beforehand
        cores = None if address else max(os.cpu_count() or 1, workers or 1)
        try:
            with _silent_stderr():  # on which its C++ part says how much it will say
                ray.init(
                    address or "local",
                    num_cpus=cores,
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    configure_logging=False,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"Ray at {address}: no connection ({shown(str(error))}); is the cluster up?") from error
        found = ray.cluster_resources()
        self._is_gpu = device.startswith("cuda") or (device == "auto" and found.get("GPU", 0) >= 1)
        if self._is_gpu and found.get("GPU", 0) < 1:
            self.close()
            raise ConfigError(f"device {device}: Ray knows of no GPU; use --device cpu")
        self.num_workers = workers or int(found["GPU" if self._is_gpu else "CPU"])
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False

    def run(
        self,
        jobs: Sequence[Sequence[Any]],
        read: Callable[[Any, Setup], Any],
        model: type | None,
        setup: Setup,
        *,
        in_order: bool = False,
    ) -> Iterator[Any]:
        """Reads every item of the jobs and gives what was read to a model; yields what that says, as it comes.

        A process that dies is replaced, and its job done again, as often as it takes.

        Args:
            jobs: the items that a worker takes at a time.
            read: called with an item and the setup, in a process for reading.
            model: made with the setup, and called with what `read` gave, in a process of its own; None for none.
            setup: what workers know.
            in_order: whether models get what was read in the order of the jobs.

        Raises:
            LSNError: as the workers raise it.
        """
        ray.data.DataContext.get_current().execution_options.preserve_order = in_order
        for first in range(0, len(jobs), JOBS_PER_PASS):
            rows = [{"jobs": pickle.dumps(list(each))} for each in jobs[first : first + JOBS_PER_PASS]]
            work = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
                partial(_read_all, read=read, setup=setup),
                num_cpus=_SHARE,
                compute=ray.data.TaskPoolStrategy(size=self.num_workers),
            )
            if model is not None:
                work = work.map(
                    cast(Any, _Answering),
                    fn_constructor_args=(model, setup),
                    compute=ray.data.ActorPoolStrategy(size=min(self.num_workers, len(rows))),
                    num_cpus=_SHARE,
                    num_gpus=1 if self._is_gpu else 0,
                )
            try:
                for row in work.iter_rows():
                    yield pickle.loads(row["row"])
            except ray.exceptions.RayError as error:
                if cause := _own_error(error):
                    raise cause from error
                raise

    def close(self) -> None:
        """Ends Ray, or the connection to it."""
        ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _read_all(row: dict[str, Any], *, read: Callable[[Any, Setup], Any], setup: Setup) -> Iterator[dict[str, Any]]:
    for item in pickle.loads(row["jobs"]):
        yield {"row": pickle.dumps(read(item, setup), protocol=5)}


class _Answering:
    """A model as Ray Data calls it."""

    def __init__(self, model: Callable[[Setup], Callable[[Any], Any]], setup: Setup) -> None:
        self._model = model(setup)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"row": pickle.dumps(self._model(pickle.loads(row["row"])))}


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """What libraries of C++ write to standard error while the block runs is lost."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _own_error(error: BaseException | None) -> LSNError | None:
    """What a worker has raised, if it is an error of LSN."""
    while error is not None and not isinstance(error, LSNError):
        error = getattr(error, "cause", None) or error.__cause__
    return error
