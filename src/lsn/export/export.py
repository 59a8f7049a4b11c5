"""A weights folder as graphs in a folder of their own, which is there once it is proven, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lsn.config import EvaluationConfig, load_config
from lsn.config.json_files import RECIPE_NAME, TENSORS_NAME
from lsn.errors import ConfigError, ModelError, WeightsError
from lsn.export.proof import TOLERANCES, prove
from lsn.export.reduce import halve, quantize
from lsn.export.torch_program import TorchProgramRuntime
from lsn.export.trace import Traceable, clip_of, step_of
from lsn.export.writers import write_onnx, write_openvino, write_stateful_openvino, write_torch
from lsn.files import new_folder
from lsn.hub import is_hub_name
from lsn.inference.runtimes.description import (
    SUFFIXES,
    Accuracy,
    ExportDescription,
    StateTensor,
    Target,
    describe_graph,
    hash_of_files,
    read_description,
    write_description,
)
from lsn.inference.runtimes.graph import GraphRuntime
from lsn.inference.runtimes.names import Precision
from lsn.inference.runtimes.opening import GRAPH_RUNTIMES, ReadyModel, open_model
from lsn.models.prepare import prepare_for_inference
from lsn.models.starters.cards import is_starter
from lsn.models.weights import LoadedModel, load_weights, weights_fingerprint, weights_folder
from lsn.streaming.default_rules import validation_threshold
from lsn.streaming.verify import frames_to_compare

_WRITERS: dict[Target, Callable[[Traceable, Path], None]] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "torch": write_torch,
}
_RUNTIMES: dict[str, type[GraphRuntime]] = {**GRAPH_RUNTIMES, "torch": TorchProgramRuntime}
_LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
_MIN_FRAMES = 32


@dataclass(frozen=True)
class Measure:
    """How the accuracy before and after is measured."""

    metric: str
    """Such as `top-1`."""
    data: str
    """What it is measured on."""
    run: Callable[[ReadyModel], float]
    """The accuracy of a model, 0..1."""


@dataclass(frozen=True)
class Reduction:
    """What is asked for instead of float32."""

    precision: Precision = "fp32"
    calibration: Sequence[np.ndarray] = ()
    """For int8: uint8 clips TCHW as the network sees them, of its number of frames, like those that it will see."""
    max_drop: float = 0.01
    """Accuracy, 0..1, that may be lost."""

    def check(self, target: Target) -> None:
        """Refuses what does not go together.

        Raises:
            ConfigError: a format that has float32 alone, int8 without clips, clips without int8, or a wrong share.
        """
        if self.precision != "fp32" and target == "torch":
            raise ConfigError(f"--precision {self.precision} is for onnx and openvino; leave it out for torch")
        if self.precision == "int8" and not len(self.calibration):
            raise ConfigError("int8 needs clips that show what the model will see; give some with --calibrate")
        if self.precision != "int8" and len(self.calibration):
            raise ConfigError("--calibrate is for --precision int8; leave it out")
        if not 0 <= self.max_drop <= 1:
            raise ConfigError(f"{100 * self.max_drop:g} points that may be lost (--max-drop); it must be 0 to 100")


def export_weights(
    weights: str | Path,
    target: Target,
    *,
    out: str | Path | None = None,
    video: str | Path | None = None,
    reduction: Reduction | None = None,
    measure: Measure | None = None,
) -> tuple[Path, ExportDescription]:
    """Writes the step and the clip of trained weights as graphs, and compares them with PyTorch.

    Args:
        weights: a weights folder, or starter weights.
        target: whose format.
        out: new folder; by default one inside the weights folder that is called like the target, and the precision if
            it is not fp32.
        video: whose first frames the comparison is made on; by default moving noise, for int8 the calibration clips.
        reduction: float16 or int8 instead of float32.
        measure: accuracy to be measured with PyTorch and with the graphs.

    Returns:
        The folder, and what is in it.

    Raises:
        WeightsError: the weights cannot be read, or the folder exists.
        ConfigError: a library is not installed; starter weights were given without a folder; int8 without clips.
        ModelError: the format lacks an operator, a graph gives other numbers than PyTorch, or too much accuracy is
            lost; nothing is left behind.
        VideoError: the video cannot be read, or is too short.
    """
    reduction = reduction or Reduction()
    reduction.check(target)
    if out is None and (is_starter(weights) or is_hub_name(weights)):
        raise ConfigError(f"{weights}: no folder of yours; say where the export goes with --out")
    suffix = "" if reduction.precision == "fp32" else f"-{reduction.precision}"
    folder = Path(weights, f"{target}{suffix}") if out is None else Path(out)
    if folder.exists():
        raise WeightsError(f"{folder}: exists; delete it, or choose another folder with --out")
    loaded = load_weights(weights)
    frames_TCHW = frames_to_compare(loaded, video, max(_MIN_FRAMES, loaded.model.num_frames))
    with new_folder(folder) as partial:
        description = write_graphs(weights, loaded, target, partial)
        write_description(partial, description)
        description = _proven(loaded, partial, frames_TCHW, description)
        if reduction.precision != "fp32":
            write_description(partial, reduce_graphs(loaded, partial, description, reduction))
            if reduction.precision == "int8" and video is None:  # noise is not what its ranges are for
                frames_TCHW = _enough_of(reduction.calibration, len(frames_TCHW))
            description = _proven(loaded, partial, frames_TCHW, read_description(partial))
        if measure is not None:
            before, after = (measure.run(open_model(model, device="cpu")) for model in (loaded, partial))
            accuracy = Accuracy(measure.metric, measure.data, before, after)
            description = replace(description, accuracy=accuracy)
            _check_drop(weights, accuracy, reduction.max_drop)
        write_description(partial, description)
    return folder, description


def _proven(
    loaded: LoadedModel, folder: Path, frames_TCHW: Tensor, description: ExportDescription
) -> ExportDescription:
    tolerance = TOLERANCES[description.precision]
    lines = prove(loaded.model, _RUNTIMES[description.target](folder), frames_TCHW, tolerance=tolerance)
    if failed := [line for line in lines if not line.passed]:
        what = "; ".join(f"{line.check}: {line.difference:.1e}, allowed {line.limit:.0e}" for line in failed)
        raise ModelError(
            f"{description.name}: the {description.precision} graphs for {description.target} give other numbers than "
            f"PyTorch ({what}); nothing was written. Use another format, and report it with the versions of your "
            "libraries"
        )
    return replace(description, proof=lines)


def reduce_graphs(
    loaded: LoadedModel, folder: Path, description: ExportDescription, reduction: Reduction
) -> ExportDescription:
    """Makes the graphs smaller, in place."""
    graphs = [folder / graph.file for graph in (description.clip, description.step) if graph is not None]
    if reduction.precision == "fp16":
        for path in graphs:
            halve(path)
    else:
        runtime = _RUNTIMES[description.target](folder)
        quantize(runtime, reduction.calibration, num_stem_convolutions=loaded.model.num_stem_convolutions)
    stateful = description.stateful_step
    if stateful is not None:
        path = folder / stateful.file
        write_stateful_openvino(graphs[1], path, description.states, precision=reduction.precision)
        stateful = describe_graph(path)
    clip, *step = (describe_graph(path) for path in graphs)
    return replace(
        description,
        precision=reduction.precision,
        clip=clip,
        step=step[0] if step else None,
        stateful_step=stateful,
    )


def _enough_of(clips: Sequence[np.ndarray], num_frames: int) -> Tensor:
    """The first frames of clips, again and again if there are too few: TCHW."""
    frames_TCHW = np.concatenate(list(clips[: -(-num_frames // len(clips[0]))]))
    return torch.from_numpy(np.resize(frames_TCHW, (num_frames, *frames_TCHW.shape[1:])))


def _check_drop(weights: str | Path, accuracy: Accuracy, max_drop: float) -> None:
    if accuracy.before - accuracy.after > max_drop + 1e-9:
        raise ModelError(
            f"{weights}: {accuracy.metric} on {accuracy.data} falls from {accuracy.before:.1%} to "
            f"{accuracy.after:.1%}; {100 * max_drop:g} points may be lost, so nothing was written. Calibrate on more "
            "clips, use another precision, or allow more with --max-drop"
        )


def write_graphs(weights: str | Path, loaded: LoadedModel, target: Target, folder: Path) -> ExportDescription:
    """Writes the graphs of loaded weights into a folder that is there, not compared with anything yet."""
    model, size, suffix = prepare_for_inference(loaded.model, device="cpu"), loaded.input.size, SUFFIXES[target]
    clip, step = folder / f"clip{suffix}", folder / f"step{suffix}"
    _WRITERS[target](clip_of(model, size=size), clip)
    states: tuple[StateTensor, ...] = ()
    stateful: Path | None = None
    if model.is_causal:
        graph, states = step_of(model, size=size)
        _WRITERS[target](graph, step)
        if target == "openvino":
            stateful = folder / f"stateful_step{suffix}"
            write_stateful_openvino(step, stateful, states)
    return ExportDescription(
        target=target,
        name=model.name,
        fingerprint=weights_fingerprint(loaded.model),
        weights_sha256=hash_of_files(weights_folder(weights) / TENSORS_NAME),
        labels=loaded.labels,
        input=loaded.input,
        num_frames=model.num_frames,
        readout_frames=model.readout_frames,
        multi_label=model.multi_label,
        frame_rates=loaded.frame_rates,
        events=loaded.events,
        validation_threshold=None if loaded.events else _threshold_of(loaded, weights_folder(weights)),
        evaluation=_views_of(weights_folder(weights)),
        clip=describe_graph(clip),
        step=describe_graph(step) if model.is_causal else None,
        stateful_step=None if stateful is None else describe_graph(stateful),
        states=states,
        made_with=tuple(_versions()),
    )


def _threshold_of(loaded: LoadedModel, folder: Path) -> float | None:
    known = loaded.validation_threshold
    return validation_threshold(folder) if known is None else known


def _views_of(folder: Path) -> EvaluationConfig:
    """The views that a run validated with; without its recipe the usual ones."""
    recipe = folder / RECIPE_NAME
    return load_config(recipe).evaluation if recipe.is_file() else EvaluationConfig()


def _versions() -> list[str]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
