"""Weights folders: `model.safetensors` and a `config.json` that says how to build the model and feed it.

A folder carries the labels, the preprocessing and the measured accuracy with the weights. Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lsn.config import EventRules, FrameRates, InputConfig, to_mapping
from lsn.config.json_files import CONFIG_NAME, RECIPE_NAME, TENSORS_NAME, WEIGHTS_FORMAT, checked
from lsn.errors import LSNError, WeightsError, shown
from lsn.files import write_text
from lsn.hub import hub_folder, is_hub_name
from lsn.models.backbone import check_is_sequential
from lsn.models.factory import ModelArguments, completed, outline_model
from lsn.models.recognizer import Recognizer
from lsn.models.starters.cards import is_starter, starter_folder
from lsn.tensor_file import TensorKind, bytes_of, misfits, open_tensors, write_tensors


@dataclass(frozen=True)
class WeightsConfig:
    """What `config.json` says beside the metrics: all of it is checked before anything is built from it."""

    model: ModelArguments
    labels: tuple[str, ...]
    input: InputConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    frame_rates: FrameRates | None = None
    """Older folders do not record it."""
    events: EventRules | None = None
    validation_threshold: float | None = None
    untrained: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) != self.model.num_classes:
            raise WeightsError(f"{len(self.labels)} labels for a model of {shown(self.model.num_classes)} classes")
        if len(set(self.labels)) < len(self.labels):
            twice = next(label for label, number in Counter(self.labels).items() if number > 1)
            raise WeightsError(f"two classes have the label {shown(twice)}; each must have its own")
        if self.events is not None and self.events.background not in (None, *self.labels):
            raise WeightsError(f"the background {shown(self.events.background)} is none of the labels")


@dataclass(frozen=True)
class LoadedModel:
    """A model with what belongs to it."""

    model: Recognizer
    """The network, in eval mode, on the CPU; `new_parameter_names` says what of it was never trained."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the logits."""
    input: InputConfig
    """How frames are chosen, resized and cropped."""
    metrics: dict[str, Any]
    """What was measured with these weights."""
    frame_rates: FrameRates | None = None
    """Rates of the training clips; None if nobody measured them, as after a conversion."""
    events: EventRules | None = None
    """When its answers on a stream are an event; None if nobody fitted that."""
    validation_threshold: float | None = None
    """The probability that most right answers of its validation reach, where the validation is not beside the weights,
    as at the Hub."""


def is_weights_folder(name: str) -> bool:
    """Whether a name is that of a folder, of starter weights or of the Hub, there or not, and not of a model."""
    return is_starter(name) or os.path.exists(name) or len(Path(name).parts) > 1  # noqa: PTH110 - also asked of names that no file can have


HUB_FILES = (CONFIG_NAME, TENSORS_NAME)
"""What PyTorch needs of a model of the Hub."""


def weights_folder(name: str | Path) -> Path:
    """The folder that a name stands for: itself, or that of starter weights or of a model of the Hub.

    Raises:
        WeightsError: there are no such starter weights, or the model could not be downloaded.
    """
    if is_starter(name):
        return starter_folder(name)
    return hub_folder(name, HUB_FILES, optional=[RECIPE_NAME]) if is_hub_name(name) else Path(name)


def save_weights(
    folder: str | Path,
    model: Recognizer,
    *,
    labels: Sequence[str],
    input: InputConfig,
    metrics: dict[str, Any],
    state: dict[str, Tensor] | None = None,
    untrained: Sequence[str] = (),
    frame_rates: FrameRates | None = None,
    events: EventRules | None = None,
) -> None:
    """Writes a weights folder; each file appears whole or not at all.

    Args:
        folder: made if it does not exist.
        model: gives the architecture, and the tensors unless `state` is given.
        labels: one name a class.
        input: preprocessing that the model was trained with.
        metrics: what was measured, as plain data.
        state: other tensors for the same architecture, such as a moving average.
        untrained: parameters that still have random values, as after a conversion.
        frame_rates: of the clips that it was trained on.
        events: when its answers on a stream are an event.

    Raises:
        WeightsError: the number of labels is not that of the classes.
    """
    if len(labels) != model.num_classes:
        raise WeightsError(f"{folder}: {len(labels)} labels for a model of {model.num_classes} classes")
    config = {
        **WEIGHTS_FORMAT.header(),
        "model": model.arguments,
        "labels": list(labels),
        "input": to_mapping(input),
        "frame_rates": None if frame_rates is None else to_mapping(frame_rates),
        "events": None if events is None else to_mapping(events),
        "mean": list(model.mean),
        "std": list(model.std),
        "metrics": metrics,
        "untrained": list(untrained),
    }
    folder = Path(folder)
    write_tensors(folder / TENSORS_NAME, state or model.state_dict())
    text = json.dumps(config, indent=2)  # ASCII, since labels that are names of folders need not be valid Unicode
    write_text(folder / CONFIG_NAME, f"{text}\n")


def load_weights(folder: str | Path) -> LoadedModel:
    """Loads a weights folder, starter weights (`starter:gestures`) or a model of the Hub (`user/name`).

    The model is in eval mode, on the CPU.

    Nothing in it is trusted: the description is checked, then compared with the names and shapes of the tensors, and
    only then does the network get memory.

    Raises:
        WeightsError: there is no such folder, it is incomplete, damaged, of another version, or does not fit its own
            model; or it could not be downloaded.

    Example:
        >>> lsn.load("starter:gestures").model.name
        'lsn_test_resnet'
    """
    folder = weights_folder(folder)
    config, metrics = _read_config(folder)
    try:
        outline = outline_model(config.model)
        _check_normalisation(outline, config)
        own = outline.state_dict()
        if unknown := [name for name in config.untrained if name not in own]:
            raise WeightsError(f"untrained names {shown(unknown[0])}, which the model does not have")
    except LSNError as error:
        raise WeightsError(f"{folder / CONFIG_NAME}: {error}") from error
    tensors = _read_tensors(folder / TENSORS_NAME, outline)
    model = completed(outline)
    model.load_state_dict(tensors, assign=True)
    try:
        check_is_sequential(model.cnn, model.stages, model.tail)
    except LSNError as error:
        raise WeightsError(f"{folder / CONFIG_NAME}: {error}") from error
    untrained = set(config.untrained)
    model.mark_trained(name for name, _ in model.named_parameters() if name not in untrained)
    model.eval()
    rates, threshold = config.frame_rates, config.validation_threshold
    return LoadedModel(model, config.labels, config.input, metrics, rates, config.events, threshold)


def load_event_rules(folder: str | Path) -> EventRules | None:
    """When the answers of weights on a stream are an event, without loading the network; None if nobody fitted that.

    Raises:
        WeightsError: as of `load_weights`.
    """
    return _read_config(weights_folder(folder))[0].events


def save_event_rules(folder: str | Path, events: EventRules) -> None:
    """Keeps rules of events with weights that are there, as the default of their streams; nothing else changes.

    Raises:
        WeightsError: there is no such folder, the background is none of its labels, or these are starter weights.
    """
    if is_starter(folder) or is_hub_name(folder):
        raise WeightsError(f"{folder}: no folder of yours; copy {weights_folder(folder)} and fit the copy")
    folder = Path(folder)
    config, _ = _read_config(folder)
    try:
        dataclasses.replace(config, events=events)
    except WeightsError as error:
        raise WeightsError(f"{folder}: {error}") from None
    content = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    write_text(folder / CONFIG_NAME, json.dumps(content | {"events": to_mapping(events)}, indent=2) + "\n")


def weights_fingerprint(model: Recognizer) -> str:
    """A hash of the model's name and of every weight, computed once for each model that is loaded."""
    digest = hashlib.sha256(model.name.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def _read_tensors(path: Path, outline: Recognizer) -> dict[str, Tensor]:
    """The tensors of the outline, in its types."""
    if not path.exists():
        raise WeightsError(f"{path.parent}: {TENSORS_NAME} is missing; copy the whole folder")
    own = outline.state_dict()
    with open_tensors(path, "weights") as file:
        if odd := misfits(file.kinds, {name: TensorKind.of(tensor) for name, tensor in own.items()}):
            raise WeightsError(
                f"{path}: does not fit the model of {CONFIG_NAME}, {outline.name}: {', '.join(odd[:3])} "
                f"({len(odd)} in all); the two files belong to different models: copy the whole folder again"
            )
        return {name: tensor.to(own[name].dtype) for name, tensor in file.read().items()}


def _check_normalisation(model: Recognizer, config: WeightsConfig) -> None:
    """Versions of timm may differ in what a CNN's name stands for."""
    if (model.mean, model.std) != (config.mean, config.std):
        raise WeightsError(
            f"trained on frames normalised with mean {shown(list(config.mean))} and std {shown(list(config.std))}, "
            f"but in this timm {model.name} expects mean {list(model.mean)} and std {list(model.std)}; install the "
            "timm that it was trained with"
        )


def _read_config(folder: Path) -> tuple[WeightsConfig, dict[str, Any]]:
    """The checked description, and the metrics as they are."""
    if os.path.isfile(folder):  # noqa: PTH113 - also asked of names that no file can have
        raise WeightsError(
            f"{folder}: expected a weights folder with {CONFIG_NAME} and {TENSORS_NAME}, not a file; "
            "pickled checkpoints can run code and are not read"
        )
    path = folder / CONFIG_NAME
    if not os.path.lexists(path):
        what = "holds no weights" if os.path.isdir(folder) else "no such weights folder"  # noqa: PTH112
        raise WeightsError(f"{folder}: {what}; expected {CONFIG_NAME} and {TENSORS_NAME}, as `lsn train` writes them")
    fields = WEIGHTS_FORMAT.read(path)
    metrics = fields.get("metrics", {})
    if not isinstance(metrics, dict):
        raise WeightsError(f"{path}: metrics: expected a section, got {shown(metrics)}")
    return checked(WeightsConfig, fields, path), metrics
