"""Ray: here for as long as a batch runs, or a cluster that is there; and a pass over jobs on Ray Data."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import ray
import ray.data

from lsn.batch.reading import Setup
from lsn.errors import ConfigError, LSNError, shown
from lsn.hardware import usable_cores

JOBS_PER_PASS = 2000
"""Ray keeps some kilobytes for each block that it knows of."""
_SHARE = 0.5
"""CPUs that Ray counts for a reader, and for a model on the CPU. As they are the same, Ray lets one process do both,
which copies nothing; models on GPUs have processes of their own, which readers feed."""


class Cluster:
    """Workers of Ray. Use it as a context manager.

    Args:
        address: of a cluster, or "auto" for the one of this machine; None starts Ray here, and ends it with the block.
        workers: processes that run the model; None for one per GPU or CPU core.
        device: of the models.
        needs_cpu: whether they run on CPUs whatever the device.

    Raises:
        ConfigError: there is no cluster at the address, or it has no GPU.
    """

    def __init__(self, address: str | None, workers: int | None, *, device: str, needs_cpu: bool = False) -> None:
        # Ray's own words are for its developers: what goes wrong is raised.
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the way of later versions, said beforehand
        self._start(address, workers)
        found = ray.cluster_resources()
        self._is_gpu = not needs_cpu and (device == "cuda" or (device == "auto" and found.get("GPU", 0) >= 1))
        if device not in ("auto", "cpu", "cuda"):
            self.close()
            raise ConfigError(f"device {device}: Ray deals out the GPUs of a batch; give cuda, cpu or auto")
        if self._is_gpu and found.get("GPU", 0) < 1:
            self.close()
            raise ConfigError(f"device {device}: Ray knows of no GPU; use --device cpu")
        self.num_workers = workers or int(found["GPU" if self._is_gpu else "CPU"])
        self._num_readers = int(found["CPU"]) if self._is_gpu else self.num_workers
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_no_progress_timeout_s = -1  # a part may take long; one that hangs ends by itself

    def _start(self, address: str | None, workers: int | None) -> None:
        cores = None if address else max(usable_cores(), workers or 1)
        threads = {"env_vars": {"OMP_NUM_THREADS": "1"}}  # as there is a process for each core
        try:
            with _silent_stderr():  # on which its C++ part says how much it will say
                ray.init(
                    address or "local",
                    num_cpus=cores,
                    include_dashboard=None if address else False,
                    runtime_env=None if address else threads,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    configure_logging=False,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            what = f"no connection to the Ray cluster at {address}" if address else "Ray does not start here"
            raise ConfigError(f"{what} ({shown(str(error))})") from error

    def run(
        self,
        jobs: Sequence[Sequence[Any]],
        read: Callable[[Any, Setup], Any],
        model: Callable[[Setup], Callable[[Any], Any]] | None,
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
            Exception: as the workers raise it.
        """
        ray.data.DataContext.get_current().execution_options.preserve_order = in_order
        for first in range(0, len(jobs), JOBS_PER_PASS):
            rows = [{"jobs": pickle.dumps(list(each))} for each in jobs[first : first + JOBS_PER_PASS]]
            work = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
                partial(_read_all, read=read, setup=setup),
                num_cpus=_SHARE,
                compute=ray.data.TaskPoolStrategy(size=min(self._num_readers, len(rows))),
            )
            if model is not None:
                work = work.map(
                    cast(Any, _Answering),
                    fn_constructor_args=(model, setup),
                    compute=ray.data.ActorPoolStrategy(size=min(self.num_workers, len(rows))),
                    num_cpus=_SHARE,
                    num_gpus=1 if self._is_gpu else 0,
                )
            for row in work.iter_rows():
                found = pickle.loads(row["row"])
                if isinstance(found, Exception):
                    raise found
                yield found

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
        yield _row(partial(read, item, setup))


class _Answering:
    """A model as Ray Data calls it, made when it is called first, so that its errors come as others do."""

    def __init__(self, model: Callable[[Setup], Callable[[Any], Any]], setup: Setup) -> None:
        self._make, self._model = partial(model, setup), cast(Any, None)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return _row(partial(self._answer, pickle.loads(row["row"])))

    def _answer(self, item: Any) -> Any:
        if isinstance(item, Exception):
            return item
        self._model = self._model or self._make()
        return self._model(item)


def _row(call: Callable[[], Any]) -> dict[str, Any]:
    """What a call gives or raises, as a row; Ray would bring errors back as text."""
    try:
        found = call()
    except (LSNError, OSError) as error:
        found = error
    except Exception:
        found = RuntimeError(f"in a worker:\n{traceback.format_exc()}")
    return {"row": pickle.dumps(found, protocol=5)}


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
