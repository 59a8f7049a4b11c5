"""`lsn evaluate` on timelines: how well events are found in long videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsn.cli.commands.data_timelines import TimelineOptions
from lsn.cli.commands.stream_options import EventOptions, StreamOptions, streaming_predictor
from lsn.cli.commands.weights_options import refuse_weights_folder, run_config, weights_files
from lsn.cli.ui.console import columns, output, percent
from lsn.cli.ui.progress import counting_progress
from lsn.errors import ConfigError
from lsn.files import check_outputs

if TYPE_CHECKING:
    from lsn.config import EventRules
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
    out: Path | None,
    device: str,
    compile: bool,
) -> None:
    """Runs weights over long videos as streams; prints and writes what they find and how good that is."""
    from lsn.models.weights import load_weights
    from lsn.report import write_report
    from lsn.streaming.timeline_evaluation import evaluate_timelines
    from lsn.streaming.timeline_results import EVENTS_NAME, FRAMES_NAME, METRICS_NAME, save_timelines

    loaded = load_weights(weights)
    is_default = timelines.background == TimelineOptions.background and timelines.background not in loaded.labels
    given = {entry.name: getattr(events, entry.name) for entry in fields(EventOptions)}
    background = None if is_default else timelines.background
    streams = StreamOptions(**given, background=background, device=device, compile=compile)
    predictor, remarks = streaming_predictor(weights, streams, loaded=loaded)
    manifest = _validation_set(weights) if data is None else _checked(data, timelines, root)
    if out is not None:
        refuse_weights_folder(out)
        written = [out / name for name in (METRICS_NAME, EVENTS_NAME, FRAMES_NAME)]
        check_outputs(written, [data, *weights_files(weights), *(video.path for video in manifest.videos)])
    console = output()
    for remark in remarks:
        console.print(remark, style="dim")
    with counting_progress("running videos") as progress:
        result = evaluate_timelines(predictor, manifest, progress=progress)
    print_timeline_metrics(result.metrics.to_dict())
    if events.fit or events.max_false_per_hour is not None:
        _fit(weights, predictor.events, result, manifest, events.max_false_per_hour)
    if out is not None:
        save_timelines(result, out)
        report = write_report(out, weights=weights)
        console.print(f"\nMetrics  {out / METRICS_NAME}\nEvents   {out / EVENTS_NAME}\nReport   {report}")


def _checked(data: str, timelines: TimelineOptions, root: str | None) -> TimelineManifest:
    from lsn.data import raise_on_errors
    from lsn.data.timelines.checks import check_timelines

    manifest, problems = timelines.parse(data, root=root)
    raise_on_errors(problems + check_timelines(manifest, background=timelines.background, multi_label=True))
    return manifest


def _validation_set(weights: Path) -> TimelineManifest:
    """What weights were validated on."""
    from lsn.data.timelines.splits import load_timelines

    config = run_config(weights)
    if config is None:
        raise ConfigError(f"{weights}: no recipe.yaml says what it was validated on; add a file or folder of timelines")
    return load_timelines(config.data, config.timelines, config.training.seed)[1]


def _fit(
    weights: Path,
    start: EventRules,
    result: TimelineEvaluation,
    manifest: TimelineManifest,
    max_false_per_hour: float | None,
) -> None:
    """Keeps the rules that find the events of these videos best with the weights."""
    from lsn.models.weights import save_event_rules
    from lsn.streaming.event_fitting import fit_event_rules

    rules = fit_event_rules(result.timelines, manifest, start, max_false_per_hour=max_false_per_hour)
    save_event_rules(weights, rules)
    output().print(
        f"\nKept with the weights: events start at {rules.on_threshold:.2f}, end at {rules.off_threshold:.2f} after "
        f"{rules.merge_seconds:g} s below, last {rules.min_seconds:g} s or more, and become another one when another "
        f"class takes over after {rules.split_seconds:g} s. Measure them on other videos."
    )


def print_timeline_metrics(metrics: Mapping[str, Any]) -> None:
    """Prints what was measured on long videos, as `TimelineMetrics.to_dict` gives it."""
    console = output()
    minutes = 60 * metrics["hours"]
    console.print(f"{metrics['num_videos']} videos of {minutes:.1f} minutes in all with {metrics['num_events']} events")
    table = columns("Found", "Missed", "False", "False per hour", "F1@10", "F1@25", "F1@50", "Edit", right=("Found",))
    counts = (str(metrics["found"]), str(metrics["missed"]), str(metrics["false"]), f"{metrics['false_per_hour']:.1f}")
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
