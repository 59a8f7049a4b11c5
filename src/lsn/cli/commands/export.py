"""`lsn export`: trained weights as graphs for other runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lsn.cli.commands.data.timelines import TimelineOptions
from lsn.cli.commands.evaluate import Reading, evaluation_clips, finds_events
from lsn.cli.commands.evaluate_timelines import as_trained, evaluation_timelines, known_background
from lsn.cli.options.stream import StreamOptions, streaming_predictor
from lsn.cli.options.weights import run_config, run_views
from lsn.cli.ui.console import columns, output, percent
from lsn.errors import ConfigError
from lsn.hub import is_hub_name
from lsn.inference.runtimes.names import Precision

if TYPE_CHECKING:
    import numpy as np

    from lsn.export.export import Measure
    from lsn.inference.runtimes.opening import ReadyModel

MAX_CALIBRATION_CLIPS = 64


@dataclass(frozen=True)
class Bits:
    """What is stored and computed in fewer bits, and what that costs."""

    precision: Precision = "fp32"
    """fp16 stores the weights in half the space; int8 also computes in it, which is faster where the processor can."""
    calibrate: str | None = None
    """For int8: manifest, folder of class folders, or timelines, of videos like those that the model will see."""
    data: str | None = None
    """Measure the accuracy before and after on these; int8 by default on what the run validated on."""
    max_drop: float | None = None
    """Points of accuracy that may be lost (1), where it is measured."""


def export(
    weights: Path,
    /,
    *,
    to: Literal["onnx", "openvino", "torch"],
    out: Path | None = None,
    video: str | None = None,
    bits: Annotated[Bits | None, Parameter(name="*")] = None,
    timelines: Annotated[TimelineOptions | None, Parameter(name="*")] = None,
) -> None:
    """Write trained weights as graphs that run without LSN.

    One graph is a step of streams, whose memory goes in and comes out; one is a clip. Both take bytes and normalise
    them. They are compared with PyTorch before the folder appears: clips, steps, streams that join and leave, a
    thousand steps, and memory that moves between the two.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, starter weights, or a name of the Hub.
    to
        Format: onnx, openvino, or torch (a program of torch.export).
    out
        New folder; by default one inside the weights folder that is called like the format, with -fp16 or -int8 behind.
    video
        Video to compare on; by default noise.
    """
    bits, timelines = bits or Bits(), timelines or TimelineOptions()
    from lsn.export.export import Reduction, export_weights

    calibration = [] if bits.calibrate is None else _calibration_clips(weights, bits.calibrate, timelines)
    is_measured = bits.data is not None or bits.precision == "int8"
    if bits.max_drop is not None and not is_measured:
        raise ConfigError("--max-drop is for an accuracy that is measured; add --data, or leave it out")
    reduction = Reduction(bits.precision, calibration, (1.0 if bits.max_drop is None else bits.max_drop) / 100)
    reduction.check(to)
    folder, description = export_weights(
        weights,
        to,
        out=out,
        video=video,
        reduction=reduction,
        measure=_measure(weights, bits.data, timelines) if is_measured else None,
    )
    table = columns("Against PyTorch", "Largest difference", "Allowed", right=("Largest difference", "Allowed"))
    for line in description.proof:
        table.add_row(line.check, f"{line.difference:.1e}", f"{line.limit:.0e}")
    console = output()
    console.print(table)
    graphs = [graph.file for graph in (description.step, description.stateful_step, description.clip) if graph]
    console.print(f"\n{folder}: {', '.join(graphs)}, described in export.json (differences: of the largest logit)")
    if (accuracy := description.accuracy) is not None:
        before, after = percent(accuracy.before), percent(accuracy.after)
        console.print(f"{accuracy.metric} on {accuracy.data}: {before} with PyTorch, {after} in {bits.precision}")


def _calibration_clips(weights: Path, data: str, timelines: TimelineOptions) -> list[np.ndarray]:
    """Clips of videos spread over the data, as the network sees them."""
    from lsn.config import EvaluationConfig
    from lsn.data import open_clip, read_manifest
    from lsn.evaluation.protocol import EvaluationProtocol
    from lsn.inference.source import open_source
    from lsn.models.weights import load_weights

    loaded = load_weights(weights)
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig())
    if _are_timelines(weights, data, timelines):
        manifest = evaluation_timelines(weights, data, as_trained(weights, data, timelines))
        readers = [lambda path=video.path: open_source(path) for video in manifest.videos]
    else:
        readers = [lambda clip=clip: open_clip(clip) for clip in read_manifest(data, labels=loaded.labels).clips]
    stride = -(-len(readers) // MAX_CALIBRATION_CLIPS) or 1
    clips = []
    for opened in readers[::stride]:
        with opened() as reader:
            clips.append(protocol.read(reader).views_VTCHW[0])
    return clips


def _are_timelines(weights: Path, data: str | None, timelines: TimelineOptions) -> bool:
    return (data is not None and timelines.apply_to(data)) or finds_events(weights)


def _measure(weights: Path, data: str | None, timelines: TimelineOptions) -> Measure:
    """How accurate weights are, on the data or on what the run validated on."""
    from lsn.export.export import Measure

    config = run_config(weights)
    if data is None and (config is None or is_hub_name(weights)):
        raise ConfigError(
            f"{weights}: no recipe.yaml of yours says what it was validated on; measure int8 on some --data"
        )
    if _are_timelines(weights, data, timelines):
        options = as_trained(weights, data, timelines)
        long_videos = evaluation_timelines(weights, data, options)

        def f1(ready: ReadyModel) -> float:
            from lsn.streaming.timeline_evaluation import evaluate_timelines

            streams = StreamOptions(background=known_background(options, ready.labels))
            predictor, _ = streaming_predictor(weights, streams, ready=ready)
            return evaluate_timelines(predictor, long_videos, background=options.background).metrics.f1["25"]

        return Measure("F1@25", long_videos.source, f1)
    from lsn.models.weights import load_weights

    clips = evaluation_clips(data, weights, config, load_weights(weights).labels, Reading())

    def top1(ready: ReadyModel) -> float:
        from lsn.evaluation.evaluate import evaluate
        from lsn.evaluation.protocol import EvaluationProtocol

        protocol = EvaluationProtocol.of(ready.runtime.network, ready.input, run_views(weights))
        return evaluate(ready.runtime, clips, protocol, num_workers=Reading.workers).metrics.top1

    return Measure("top-1", clips.source, top1)
