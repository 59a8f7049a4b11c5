"""A trained model, ready to run: weights under PyTorch, or an export of them under the runtime that it is for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

from lsn.config import EventRules, FrameRates, InputConfig, from_mapping
from lsn.config.json_files import CONFIG_NAME, STARTER_PREFIX, TENSORS_NAME, WEIGHTS_FORMAT
from lsn.errors import ConfigError, WeightsError, did_you_mean
from lsn.hub import hub_folder, is_hub_name
from lsn.inference.runtimes.contract import Runtime
from lsn.inference.runtimes.description import DESCRIPTION_NAME, hash_of_files, read_description
from lsn.inference.runtimes.graph import GraphRuntime
from lsn.inference.runtimes.names import RuntimeName
from lsn.inference.runtimes.onnx import OnnxRuntime
from lsn.inference.runtimes.openvino import OpenVinoRuntime

if TYPE_CHECKING:
    import torch

    from lsn.models.weights import LoadedModel

GRAPH_RUNTIMES: dict[str, type[GraphRuntime]] = {"onnx": OnnxRuntime, "openvino": OpenVinoRuntime}


@dataclass(frozen=True, eq=False)
class ReadyModel:
    """A model that can run, with what belongs to it."""

    runtime: Runtime
    labels: tuple[str, ...]
    """Names of the classes, in the order of the logits."""
    input: InputConfig
    """How frames are chosen, resized and cropped."""
    frame_rates: FrameRates | None
    """Rates of the training clips; None if nobody measured them."""
    events: EventRules | None
    """When its answers on a stream are an event; None if nobody fitted that."""
    validation_threshold: float | None = None
    """The probability that most right answers of its validation reach; None if unknown, or if the validation itself is
    beside the weights."""

    @property
    def is_for_long_videos(self) -> bool:
        """Whether it finds events in long videos, rather than naming clips."""
        return self.runtime.network.multi_label or (self.events is not None and self.events.of_long_videos)


Weights: TypeAlias = "str | Path | LoadedModel | ReadyModel"
"""A weights folder, that of an export, starter weights, a name of the Hub, a loaded model, or one that is ready."""


def open_model(
    weights: Weights, runtime: RuntimeName | None = None, *, device: str | torch.device = "auto"
) -> ReadyModel:
    """Makes a trained model ready to run.

    Args:
        weights: a weights folder, with the export inside for the graph runtimes; the folder of an export; starter
            weights; a name of the Hub; a loaded model, which PyTorch runs; or one that is ready, and stays as it is.
        runtime: what runs it; by default PyTorch runs weights, and an export its own runtime.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one; graphs run on the CPU.

    Raises:
        WeightsError: there are no such weights, no such export, it is damaged, or was made of other weights.
        ConfigError: there is no such runtime or device, or the library is not installed.
    """
    names = get_args(RuntimeName)
    if runtime is not None and runtime not in names:
        raise ConfigError(f"runtime {runtime!r}; {did_you_mean(runtime, names)}")
    if isinstance(weights, ReadyModel):
        return weights
    if not isinstance(weights, str | Path):
        if runtime in GRAPH_RUNTIMES:
            raise ConfigError(f"{runtime} runs what lsn export wrote; give the folder instead of a loaded model")
        return _open_weights(weights, is_compiled=runtime == "compiled", device=device)
    folder = Path(weights)
    if (folder / DESCRIPTION_NAME).is_file():
        return _open_export(folder, runtime, device)
    if runtime in GRAPH_RUNTIMES:
        if is_hub_name(weights):
            folder = hub_folder(weights, [CONFIG_NAME], optional=[f"{runtime}/*"])
        export = folder / runtime
        if not (export / DESCRIPTION_NAME).is_file():
            raise _no_export(weights, runtime)
        check_is_of(folder, export)
        return _open_export(export, runtime, device)
    from lsn.models.weights import load_weights

    return _open_weights(load_weights(weights), is_compiled=runtime == "compiled", device=device)


def _no_export(weights: str | Path, runtime: str) -> WeightsError:
    command = f"lsn export {weights} --to {runtime}"
    if str(weights).startswith(STARTER_PREFIX):
        return WeightsError(f"{weights}: has no export; write one, and give its folder: {command} --out FOLDER")
    if is_hub_name(weights):
        return WeightsError(f"{weights}: has no export for {runtime} at the Hub; write one: {command} --out FOLDER")
    if not Path(weights).is_dir():
        return WeightsError(f"{weights}: no such weights folder")
    return WeightsError(f"{weights}: no export for {runtime}; write one: {command}")


def runs_graphs(weights: str | Path, runtime: RuntimeName | None) -> bool:
    """Whether these weights are run as graphs."""
    return runtime in GRAPH_RUNTIMES or Path(weights, DESCRIPTION_NAME).is_file()


def device_of(weights: str | Path, runtime: RuntimeName | None, device: str) -> str:
    """The device that "auto" stands for where graphs are run; otherwise as it is."""
    return "cpu" if device == "auto" and runs_graphs(weights, runtime) else device


def _open_export(folder: Path, runtime: RuntimeName | None, device: str | torch.device) -> ReadyModel:
    name = runtime or read_description(folder).target
    if name not in GRAPH_RUNTIMES:
        what = "programs of torch.export are for your own code" if runtime is None else f"{name} runs weights"
        raise ConfigError(f"{folder}: an export; {what}. Give a weights folder, or an export for onnx or openvino")
    if str(device) not in ("auto", "cpu"):
        raise ConfigError(f"device {device}: exported graphs run on the CPU; leave the device out")
    found = OpenVinoRuntime(folder, cache=_cache_folder()) if name == "openvino" else GRAPH_RUNTIMES[name](folder)
    about = found.description
    return ReadyModel(found, about.labels, about.input, about.frame_rates, about.events, about.validation_threshold)


def _cache_folder() -> Path:
    """Where the system wants programs to keep what they can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "lsn" / "openvino"  # noqa: PTH111


def check_is_of(folder: Path, export: Path) -> None:
    """Refuses an export of a weights folder that was made of other weights, or before their events were fitted.

    Raises:
        WeightsError: it was.
    """
    about = read_description(export)
    again = f"delete the folder and export again: lsn export {folder} --to {about.target}"
    tensors, config = folder / TENSORS_NAME, folder / CONFIG_NAME
    if tensors.is_file() and hash_of_files(tensors) != about.weights_sha256:
        raise WeightsError(f"{export}: was exported from other weights than {tensors}; {again}")
    if config.is_file():
        fitted = WEIGHTS_FORMAT.read(config).get("events")
        if fitted is not None and about.events != from_mapping(EventRules, fitted, where=str(config)):
            raise WeightsError(f"{export}: the rules of events in {config} are others; {again}")


def _open_weights(loaded: LoadedModel, *, is_compiled: bool, device: str | torch.device) -> ReadyModel:
    from lsn.inference.runtimes.pytorch import PyTorchRuntime
    from lsn.models.prepare import prepare_for_inference
    from lsn.models.weights import weights_fingerprint

    size = loaded.input.size
    runtime = PyTorchRuntime(
        prepare_for_inference(loaded.model, device=device, compile=is_compiled),
        height=size,
        width=size,
        fingerprint=weights_fingerprint(loaded.model),
        warms_up=is_compiled,
    )
    rates, threshold = loaded.frame_rates, loaded.validation_threshold
    return ReadyModel(runtime, loaded.labels, loaded.input, rates, loaded.events, threshold)
