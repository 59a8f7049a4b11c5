"""`lsn evaluate`: how good weights are on a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lsn.cli.commands.data.timelines import TimelineOptions
from lsn.cli.commands.evaluate_timelines import FittedEventOptions, evaluate_timelines
from lsn.cli.commands.train import print_metrics
from lsn.cli.options.weights import ViewOptions, refuse_weights_folder, run_config, run_views
from lsn.cli.ui.anytime import print_anytime
from lsn.cli.ui.console import is_main_process, output
from lsn.cli.ui.progress import counting_progress
from lsn.config import RunConfig
from lsn.errors import ConfigError
from lsn.files import check_outputs
from lsn.hub import is_hub_name
from lsn.inference.runtimes.names import RuntimeName

if TYPE_CHECKING:
    from lsn.data import Manifest
    from lsn.evaluation.result import EvaluationResult


@dataclass(frozen=True)
class Reading:
    """How the manifest and its videos are read."""

    reader: Literal["pyav", "torchcodec"] = "pyav"
    """Decoder of video files."""
    on_unreadable: Literal["raise", "skip"] = "raise"
    """Stop at a clip that cannot be read, or leave it out and count it."""
    root: str | None = None
    """Folder that the paths of the manifest start from; by default its own."""
    labels: str | None = None
    """File with the names behind the numbers of a TSN list; by default the weights' own."""
    workers: int = 2
    """Processes that read clips; 0 reads in this one."""


def evaluate(
    weights: Path,
    data: str | None = None,
    /,
    *,
    views: Annotated[ViewOptions | None, Parameter(name="*")] = None,
    anytime: bool = False,
    wanted_top1: float | None = None,
    out: Path | None = None,
    reading: Annotated[Reading | None, Parameter(name="*")] = None,
    runtime: RuntimeName | None = None,
    device: str = "auto",
    timelines: Annotated[TimelineOptions | None, Parameter(name="*")] = None,
    events: Annotated[FittedEventOptions | None, Parameter(name="*")] = None,
) -> None:
    """Measure the accuracy of weights on a data set.

    Of weights that were trained on timelines, or with --timelines, the data are long videos with events: each is run
    once, as one stream, and what is found is compared with them.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, or a name of the Hub.
    data
        Manifest or folder of class folders, or timelines; by default what the run validated on.
    anytime
        Measure too how soon a causal model knows: its accuracy after each frame, and when it may stop looking.
    wanted_top1
        Accuracy from 0 to 1 to keep when stopping early, with --anytime; by default it may cost one point.
    out
        Write evaluation.json, predictions.csv and report.html (of timelines: timelines.json and events.csv) into this
        folder, which must not be one of weights.
    runtime
        pytorch, compiled (the first batch waits half a minute, the others are faster), or onnx or openvino, as lsn
        export wrote it into the weights.
    device
        cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.
    """
    timelines = timelines or TimelineOptions()
    if (data is not None and timelines.apply_to(data)) or finds_events(weights):
        _refuse_clip_options(reading, views, anytime=anytime, wanted_top1=wanted_top1 is not None)
        reading, events = reading or Reading(), events or FittedEventOptions()
        evaluate_timelines(
            weights,
            data,
            timelines,
            events,
            root=reading.root,
            on_unreadable=reading.on_unreadable,
            out=out,
            runtime=runtime,
            device=device,
        )
        return
    if events is not None:
        raise ConfigError("--fit and the options of events are for long videos with events; add --timelines")
    looking = (views or ViewOptions(), anytime, wanted_top1)
    _evaluate_clips(weights, data, reading or Reading(), *looking, out=out, runtime=runtime, device=device)


def _evaluate_clips(
    weights: Path,
    data: str | None,
    reading: Reading,
    views: ViewOptions,
    anytime: bool,
    wanted_top1: float | None,
    *,
    out: Path | None,
    runtime: RuntimeName | None,
    device: str,
) -> None:
    _check(data, reading, out, needs_anytime=wanted_top1 is not None and not anytime)
    from lsn.distributed import join_world
    from lsn.evaluation.anytime import check_anytime
    from lsn.evaluation.evaluate import evaluate as run_evaluation
    from lsn.evaluation.protocol import EvaluationProtocol
    from lsn.inference.runtimes.opening import device_of, open_model

    config = run_config(weights)
    with join_world(device_of(weights, runtime, device)) as world, counting_progress("evaluating") as progress:
        ready = open_model(weights, runtime, device=world.device)
        network = ready.runtime.network
        protocol = EvaluationProtocol.of(network, ready.input, views.of(run_views(weights)))
        if anytime:  # before the manifest, whose files may take long to look at
            check_anytime(network, protocol, wanted_top1)
        manifest = evaluation_clips(data, weights, config, ready.labels, reading)
        output().print(f"{network.name} on {len(manifest)} videos of {manifest.source}: {protocol.describe()}")
        result = run_evaluation(
            ready.runtime,
            manifest,
            protocol,
            reader=reading.reader,
            on_unreadable=reading.on_unreadable,
            num_workers=reading.workers,
            anytime=anytime,
            wanted_top1=wanted_top1,
            progress=progress,
        )
    _print_result(result, out, weights)


def finds_events(weights: Path) -> bool:
    """Whether weights were trained to find events in long videos; without a recipe, by the rules that they have."""
    config = run_config(weights)
    if config is not None:
        return config.data.kind == "timelines"
    from lsn.inference.runtimes.description import DESCRIPTION_NAME, read_description
    from lsn.models.weights import load_event_rules

    is_export = (weights / DESCRIPTION_NAME).is_file()
    rules = read_description(weights).events if is_export else load_event_rules(weights)
    return rules is not None and rules.of_long_videos


def _refuse_clip_options(reading: Reading | None, views: ViewOptions | None, **others: bool) -> None:
    """Refuses options that are for clips."""
    given = {name: value is not None for name, value in vars(views or ViewOptions()).items()} | others
    defaults, both = vars(Reading()), ("root", "on_unreadable")
    given |= {name: value != defaults[name] for name, value in vars(reading or Reading()).items() if name not in both}
    for name, is_given in given.items():
        if is_given:
            raise ConfigError(f"--{name.replace('_', '-')} is for clips; leave it out, as timelines are run as streams")


def _print_result(result: EvaluationResult, out: Path | None, weights: Path) -> None:
    """Prints what was measured, and writes it into a folder if one is given."""
    from lsn.report.write import write_report

    print_metrics(asdict(result.metrics))
    if result.anytime is not None:
        print_anytime(result.anytime)
    console = output()
    for path, error in result.unreadable:
        console.print(f"left out: {path}: {error}")
    if out is not None and is_main_process():
        result.save(out)
        console.print(f"\nEvery video  {out / 'predictions.csv'}\nReport       {write_report(out, weights=weights)}")


def _check(data: str | None, reading: Reading, out: Path | None, *, needs_anytime: bool) -> None:
    """Refuses options without what they belong to, and a folder in which an evaluation would replace something else.

    What lies beside weights is their validation, which their event threshold and their report are made from.
    """
    if needs_anytime:
        raise ConfigError("--wanted-top1 is the accuracy to keep when stopping early; add --anytime, or leave it out")
    if data is None and (reading.root is not None or reading.labels is not None):
        raise ConfigError("--root and --labels say how to read a manifest; add the manifest, or leave them out")
    if out is None:
        return
    refuse_weights_folder(out)
    written = [out / name for name in ("evaluation.json", "predictions.csv", "report.html")]
    check_outputs(written, [data, reading.labels])


def evaluation_clips(
    data: str | None, weights: Path, config: RunConfig | None, names: tuple[str, ...], reading: Reading
) -> Manifest:
    """The clips that are evaluated on, with the labels in the order of the weights.

    Without data they are those that the run validated on.
    """
    from lsn.data import check_manifest, load_splits, raise_on_errors, read_manifest

    if data is not None:
        manifest = replace(read_manifest(data, root=reading.root, labels=reading.labels or names), labels=names)
        raise_on_errors(check_manifest(manifest))
        return manifest
    if config is None or is_hub_name(weights):
        raise ConfigError(f"{weights}: no recipe.yaml of yours says what it was validated on; add a manifest or folder")
    _, val = load_splits(config.data, config.training.seed)
    return replace(val, labels=names)
