"""`lsn evaluate` on timelines: how well events are found in long videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lsn.cli.commands.data.timelines import TimelineOptions
from lsn.cli.options.stream import EventOptions, StreamOptions, streaming_predictor
from lsn.cli.options.weights import refuse_weights_folder, run_config, weights_files
from lsn.cli.runs import EVALUATION_NAMES
from lsn.cli.ui.console import columns, output, percent
from lsn.cli.ui.progress import counting_progress
from lsn.errors import ConfigError
from lsn.files import check_outputs
from lsn.hub import is_hub_name
from lsn.inference.runtimes.names import RuntimeName

if TYPE_CHECKING:
    from lsn.data.timelines.table import TimelineManifest
    from lsn.streaming.timeline_evaluation import TimelineEvaluation


@dataclass(frozen=True)
class FittedEventOptions(EventOptions):
    """What is an event in long videos, as it is given, or as it does best on them."""

    fit: bool = False
    """Keep the rules of events with the weights that do best on these timelines: F1 at an overlap of 25%."""
    max_false_per_hour: float | None = None
    """Fit rules that find as many events as possible with at most so many false ones an hour."""


def evaluate_timelines(
    weights: Path,
    data: str | None,
    timelines: TimelineOptions,
    events: FittedEventOptions,
    *,
    root: str | None,
    on_unreadable: Literal["raise", "skip"],
    out: Path | None,
    runtime: RuntimeName | None,
    device: str,
) -> None:
    """Runs weights over long videos as streams; prints and writes what they find and how good that is.

    Under torchrun all processes run a share of the videos, and the first one prints and writes.
    """
    from lsn.distributed import join_world
    from lsn.inference.runtimes.opening import device_of, open_model, runs_graphs
    from lsn.models.starters.cards import is_starter
    from lsn.models.weights import weights_folder
    from lsn.streaming.timeline_evaluation import evaluate_timelines

    fits = events.fit or events.max_false_per_hour is not None
    timelines = as_trained(weights, data, timelines)
    if fits and (is_starter(weights) or is_hub_name(weights)):
        raise ConfigError(f"{weights}: no folder of yours; copy {weights_folder(weights)} and fit the copy")
    if fits and runs_graphs(weights, runtime):
        raise ConfigError(
            "rules of events are kept with weights, and exports take them over; fit those of the weights, and export "
            "them again"
        )
    given = {entry.name: getattr(events, entry.name) for entry in fields(EventOptions)}
    with join_world(device_of(weights, runtime, device)) as world:
        ready = open_model(weights, runtime, device=world.device)
        streams = StreamOptions(**given, background=known_background(timelines, ready.labels))
        predictor, remarks = streaming_predictor(weights, streams, ready=ready)
        manifest = evaluation_timelines(weights, data, timelines, root=root, on_unreadable=on_unreadable)
        _check_outputs(out, weights, data, manifest)
        if world.is_main:
            for remark in remarks:
                output().print(remark, style="dim")
        with counting_progress("running videos") as progress:
            result = evaluate_timelines(
                predictor,
                manifest,
                background=timelines.background,
                fit=fits,
                max_false_per_hour=events.max_false_per_hour,
                on_unreadable=on_unreadable,
                progress=progress if world.is_main else None,
            )
        if world.is_main:
            _finish(result, weights, out, fits=fits)


def as_trained(weights: Path, data: str | None, options: TimelineOptions) -> TimelineOptions:
    """How a file is read: as the run read its own, unless options say otherwise."""
    config = run_config(weights)
    is_given = replace(options, timelines=False) != TimelineOptions()
    if data is None and is_given:
        raise ConfigError("--subset, --fps, --background and --unlabelled say how to read a file; add the file")
    if is_given or config is None or config.data.kind == "clips":
        return options
    own = config.timelines
    return TimelineOptions(fps=own.annotation_fps, background=own.background, unlabelled=own.unlabelled)


def known_background(timelines: TimelineOptions, labels: tuple[str, ...]) -> str | None:
    """The class that is no event; None if nobody named it and no class has the usual name."""
    is_default = timelines.background == TimelineOptions.background and timelines.background not in labels
    return None if is_default else timelines.background


def _check_outputs(out: Path | None, weights: Path, data: str | None, manifest: TimelineManifest) -> None:
    """Refuses a folder in which something that is read would be replaced."""
    if out is not None:
        refuse_weights_folder(out)
        read = [data, manifest.source, *weights_files(weights), *(video.path for video in manifest.videos)]
        check_outputs([out / name for name in EVALUATION_NAMES], read)


def _finish(result: TimelineEvaluation, weights: Path, out: Path | None, *, fits: bool) -> None:
    from lsn.models.weights import save_event_rules
    from lsn.report.write import write_report
    from lsn.streaming.timeline_results import EVENTS_NAME, METRICS_NAME, save_timelines

    console, rules = output(), result.rules
    print_timeline_metrics(result.metrics.to_dict())
    for path, error in result.unreadable:
        console.print(f"left out: {path}: {error}")
    if fits:
        save_event_rules(weights, rules)
        console.print(
            f"\nKept with the weights: events start at {rules.on_threshold:.2f}, end at {rules.off_threshold:.2f} "
            f"after {rules.merge_seconds:g} s below, last {rules.min_seconds:g} s or more, and become another one when "
            f"another class takes over after {rules.split_seconds:g} s. The figures above are of the very videos that "
            "these rules fit; measure them on others."
        )
    if out is not None:
        save_timelines(result, out)
        report = write_report(out, weights=weights)
        console.print(f"\nMetrics  {out / METRICS_NAME}\nEvents   {out / EVENTS_NAME}\nReport   {report}")


def evaluation_timelines(
    weights: Path,
    data: str | None,
    timelines: TimelineOptions,
    *,
    root: str | None = None,
    on_unreadable: Literal["raise", "skip"] = "raise",
) -> TimelineManifest:
    """The long videos that are evaluated on; without data those that the run validated on."""
    if data is None:
        return _validation_set(weights)
    from lsn.data import raise_on_errors
    from lsn.data.timelines.checks import check_timelines
    from lsn.data.timelines.splits import without_unreadable

    manifest, problems = timelines.parse(data, root=root)
    if on_unreadable == "skip":
        manifest = without_unreadable(manifest)
    raise_on_errors(problems + check_timelines(manifest, background=timelines.background, multi_label=True))
    return manifest


def _validation_set(weights: Path) -> TimelineManifest:
    """What weights were validated on."""
    from lsn.data.timelines.splits import load_timelines

    config = run_config(weights)
    if config is None or is_hub_name(weights):
        raise ConfigError(
            f"{weights}: no recipe.yaml of yours says what it was validated on; add a file or folder of timelines"
        )
    multi_label = config.model.multi_label
    return load_timelines(config.data, config.timelines, config.training.seed, multi_label=multi_label)[1]


def print_timeline_metrics(metrics: Mapping[str, Any]) -> None:
    """Prints what was measured on long videos, as `TimelineMetrics.to_dict` gives it."""
    console = output()
    minutes = 60 * metrics["hours"]
    console.print(f"{metrics['num_videos']} videos of {minutes:.1f} minutes in all with {metrics['num_events']} events")
    table = columns("Found", "Missed", "False", "False per hour", "F1@10", "F1@25", "F1@50", "Edit", right=("Found",))
    counts = (str(metrics["found"]), str(metrics["missed"]), str(metrics["false"]), _number(metrics["false_per_hour"]))
    table.add_row(*counts, *map(_share, (*metrics["f1"].values(), metrics["edit"])))
    console.print(table)
    table = columns("Mean average precision", "", right=("",))
    table.add_row("of frames", _share(metrics["frame_map"]))
    table.add_row("of frames, calibrated", _share(metrics["calibrated_frame_map"]))
    for name, value in metrics["detection_map"].items():
        table.add_row("of events, mean" if name == "mean" else f"of events, overlap {name}%", _share(value))
    for name, value in metrics["spotting_map"].items():
        table.add_row(f"of starts, within {name} s", _share(value))
    console.print(table)
    latency = metrics["latency"]
    if latency["reported_median"] is not None:
        right = "-" if latency["right_median"] is None else f"{latency['right_median']:.2f} s"
        console.print(
            f"Median time from the start of a found event until it was reported: {latency['reported_median']:.2f} s; "
            f"with the right label: {right}"
        )


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
