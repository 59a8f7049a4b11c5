"""`lsn batch`: a collection of videos, each accounted for once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.progress import Progress

from lsn.cli.options.stream import StreamOptions, streaming_predictor
from lsn.cli.options.weights import ViewOptions, refuse_weights_folder, run_views
from lsn.cli.ui.console import output
from lsn.cli.ui.progress import BAR, Pace, duration, progress_console
from lsn.config.timelines import Format
from lsn.errors import ConfigError

if TYPE_CHECKING:
    from lsn.batch import BatchModel, BatchProgress, BatchResult

MAX_SHOWN = 5
"""Failures that are printed; the table has all."""


def batch(
    *sources: str,
    weights: Path,
    out: Path,
    address: str | None = None,
    workers: int | None = None,
    part_seconds: float = 120.0,
    warm_up: float | None = None,
    retry_failed: bool = False,
    format: Format | None = None,
    hourly_price: float | None = None,
    views: Annotated[ViewOptions | None, Parameter(name="*")] = None,
    options: Annotated[StreamOptions | None, Parameter(name="*")] = None,
) -> int:
    """Run a model over thousands of videos.

    Works on all cores, or a Ray cluster. Writes Parquet tables: videos, failures, and predictions (or events, for
    models of long videos). The same command resumes where it was stopped or killed, repeats nothing, and adds what is
    new among the sources. Videos that cannot be read are rows of the table of failures; the exit code is then 2.

    Parameters
    ----------
    sources
        Files, folders with all below, patterns ("clips/**/*.mp4"), lists (.txt with a path a line, .csv with a column
        path), and addresses of web servers and object storage (s3://bucket/folder).
    weights
        Folder of weights, such as a run's, starter weights, or a name of the Hub; on a cluster, one that all see.
    out
        Folder of the tables, and of what is needed to resume; on a cluster, one that all machines see.
    address
        Of a Ray cluster, or auto; by default Ray runs here while the command does.
    workers
        Processes that run the model; by default one per GPU, or per core.
    part_seconds
        Long videos are cut into parts of this length, at most.
    warm_up
        Parts of a video run at the same time, each so many seconds ahead of its start from an empty memory; without
        it each continues where the one before ended, with exactly the result of one pass.
    retry_failed
        Try what could not be read in an earlier run again.
    format
        Also write the events of long videos for an annotation tool.
    hourly_price
        Of a worker: shows what the run has cost so far.
    """
    _check(sources, out)
    from lsn.batch import BatchOptions, run_batch

    settings = BatchOptions(address, workers, part_seconds, warm_up, retry_failed)
    model = _model(weights, views or ViewOptions(), options or StreamOptions())
    if format is not None and model.settings is None:
        raise ConfigError(f"--format {format}: these weights are for clips, which have no events; leave it out")
    with _progress(hourly_price) as progress:
        result = run_batch(sources, model, out, options=settings, progress=progress)
    tables = [*result.tables, *([] if format is None else [_annotations(out, format, model)])]
    _print(result, tables)
    return 2 if result.failures else 0


def _check(sources: tuple[str, ...], out: Path) -> None:
    if not sources:
        raise ConfigError("no videos; lsn batch FOLDER --weights WEIGHTS --out OUT")
    refuse_weights_folder(out)
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("lsn batch needs Ray; pip install 'lsn-video[ray]'")


def _model(weights: Path, views: ViewOptions, options: StreamOptions) -> BatchModel:
    """What is run, by what the weights are for; options that are for the others are refused."""
    from lsn.batch import BatchModel
    from lsn.inference.predictor import Predictor
    from lsn.inference.runtimes.opening import open_model

    ready = open_model(weights, options.runtime, device=options.device)
    runtime, device = options.runtime, options.device
    if options.source_fps is not None:
        raise ConfigError("--source-fps: a batch takes folders of frames at 30 a second; leave it out")
    weights = weights.absolute() if weights.exists() else weights  # workers may run elsewhere
    if ready.is_for_long_videos:
        if views != ViewOptions():
            raise ConfigError("--clips, --crops and --average are for models of clips; these weights see whole videos")
        predictor = streaming_predictor(weights, options, ready=ready)[0]
        return BatchModel.of(predictor, str(weights), runtime=runtime, device=device)
    if options != StreamOptions(runtime=runtime, device=device):
        raise ConfigError("options of streams, such as --fps, are for models of long videos; these weights see clips")
    evaluation = views.of(run_views(weights))
    return BatchModel.of(Predictor(ready, evaluation=evaluation), str(weights), runtime=runtime, device=device)


def _annotations(out: Path, format: Format, model: BatchModel) -> Path:
    from lsn.batch.tables import annotated
    from lsn.data.timelines.reading import write_timelines

    assert model.settings is not None
    background = model.settings.events.background or "background"
    path = out / f"events.{format if format in ('csv', 'jsonl') else 'json'}"
    labels = [label for label in model.labels if label != model.settings.events.background]
    write_timelines(path, annotated(out, labels, as_points=format == "e2e-spot"), format=format, background=background)
    return path


@contextmanager
def _progress(hourly_price: float | None) -> Iterator[Callable[[BatchProgress], None]]:
    console = progress_console()

    def status(at: BatchProgress) -> str:
        left = "" if at.seconds_left is None else f", {duration(at.seconds_left)} left"
        failed = f", {at.num_failed} failed" if at.num_failed else ""
        hours = at.workers * at.seconds / 3600
        cost = "" if hourly_price is None else f", cost so far {hours * hourly_price:.2f}"
        return f"{at.num_done} of {at.num_total}{failed}, {at.per_second:.1f} a second{left}{cost}"

    if not console.is_terminal:
        pace = Pace()

        def print_line(at: BatchProgress) -> None:
            if pace.is_due(at.num_done == at.num_total):
                console.print(f"{at.unit}: {status(at)}")

        yield print_line
        return
    with Progress(*BAR, console=console, transient=True) as bars:
        task = bars.add_task("starting Ray", total=None, status="")

        def move(at: BatchProgress) -> None:
            bars.update(task, description=at.unit, completed=at.num_done, total=at.num_total, status=status(at))

        yield move


def _print(result: BatchResult, tables: list[Path]) -> None:
    console = output()
    for record in result.failures[:MAX_SHOWN]:
        console.print(f"{record.status}: {record.error}", style="red")
    if (num_more := len(result.failures) - MAX_SHOWN) > 0:
        console.print(f"... and {num_more} more", style="red")
    console.print(f"{result.num_videos} videos, {result.num_new} of them in this run, {len(result.failures)} failed")
    for path in tables:
        console.print(str(path))
