"""A weights folder as graphs in a folder of their own, which is there once it is proven, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lsn.config.json_files import TENSORS_NAME
from lsn.errors import ConfigError, ModelError, WeightsError
from lsn.export.proof import prove
from lsn.export.torch_program import TorchProgramRuntime
from lsn.export.trace import Traceable, clip_of, step_of
from lsn.export.writers import write_onnx, write_openvino, write_stateful_openvino, write_torch
from lsn.files import new_folder
from lsn.inference.runtimes.description import (
    SUFFIXES,
    ExportDescription,
    StateTensor,
    Target,
    describe_graph,
    hash_of_files,
    write_description,
)
from lsn.inference.runtimes.graph import GraphRuntime
from lsn.inference.runtimes.onnx import OnnxRuntime
from lsn.inference.runtimes.openvino import OpenVinoRuntime
from lsn.models.prepare import prepare_for_inference
from lsn.models.starters.cards import is_starter
from lsn.models.weights import LoadedModel, load_weights, weights_fingerprint, weights_folder
from lsn.streaming.verify import frames_to_compare

_WRITERS: dict[Target, Callable[[Traceable, Path], None]] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "torch": write_torch,
}
_RUNTIMES: dict[Target, type[GraphRuntime]] = {
    "onnx": OnnxRuntime,
    "openvino": OpenVinoRuntime,
    "torch": TorchProgramRuntime,
}
_LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "openvino")
_MIN_FRAMES = 32


def export_weights(
    weights: str | Path, target: Target, *, out: str | Path | None = None, video: str | Path | None = None
) -> tuple[Path, ExportDescription]:
    """Writes the step and the clip of trained weights as graphs, and compares them with PyTorch.

    Args:
        weights: a weights folder, or starter weights.
        target: whose format.
        out: new folder; by default one inside the weights folder that is called like the target.
        video: whose first frames the comparison is made on; by default moving noise.

    Returns:
        The folder, and what is in it.

    Raises:
        WeightsError: the weights cannot be read, or the folder exists.
        ConfigError: a library is not installed, or starter weights were given without a folder.
        ModelError: the format lacks an operator, or a graph gives other numbers than PyTorch; nothing is left behind.
        VideoError: the video cannot be read, or is too short.
    """
    if out is None and is_starter(weights):
        raise ConfigError(f"{weights}: belongs to LSN itself; say where the export goes with --out")
    folder = Path(weights, target) if out is None else Path(out)
    if folder.exists():
        raise WeightsError(f"{folder}: exists; delete it, or choose another folder with --out")
    loaded = load_weights(weights)
    frames_TCHW = frames_to_compare(loaded, video, max(_MIN_FRAMES, loaded.model.num_frames))
    with new_folder(folder) as partial:
        description = _write_graphs(weights, loaded, target, partial)
        write_description(partial, description)
        lines = prove(loaded.model, _RUNTIMES[target](partial), frames_TCHW)
        if failed := [line for line in lines if not line.passed]:
            what = "; ".join(f"{line.check}: {line.difference:.1e}, allowed {line.limit:.0e}" for line in failed)
            raise ModelError(
                f"{weights}: the {target} graphs give other numbers than PyTorch ({what}); nothing was written. Use "
                "another format, and report it with the versions of your libraries"
            )
        description = replace(description, proof=lines)
        write_description(partial, description)
    return folder, description


def _write_graphs(weights: str | Path, loaded: LoadedModel, target: Target, folder: Path) -> ExportDescription:
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
        clip=describe_graph(clip),
        step=describe_graph(step) if model.is_causal else None,
        stateful_step=None if stateful is None else describe_graph(stateful),
        states=states,
        made_with=tuple(_versions()),
    )


def _versions() -> list[str]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
