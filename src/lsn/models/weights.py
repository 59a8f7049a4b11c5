"""Weights folders: `model.safetensors` and a `config.json` that says how to build the model and feed it.

A folder carries the labels, the preprocessing and the measured accuracy with the weights. Nothing is unpickled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

import lsn
from lsn.config import InputConfig, from_mapping, to_mapping
from lsn.errors import LSNError, WeightsError
from lsn.files import atomic_path, write_text
from lsn.models.factory import create_model
from lsn.models.recognizer import Recognizer

CONFIG_NAME, TENSORS_NAME = "config.json", "model.safetensors"
FORMAT = "lsn-weights"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class FrameRates:
    """How fast a model's frames followed each other in its training clips, in frames a second."""

    low: float
    """5th percentile over the clips."""
    median: float
    """50th percentile."""
    high: float
    """95th percentile."""

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.median <= self.high < math.inf:
            raise WeightsError(
                f"frame rates of {self.low}, {self.median} and {self.high}; they must be finite, above 0 and in order"
            )


@dataclass(frozen=True)
class LoadedModel:
    """A model with what belongs to it."""

    model: Recognizer
    """The network, in eval mode, on the CPU; `new_parameter_names` tells what of it was never trained."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the logits."""
    input: InputConfig
    """How frames are chosen, resized and cropped."""
    metrics: dict[str, Any]
    """What was measured with these weights."""
    frame_rates: FrameRates | None = None
    """Rates of the training clips; None if nobody measured them, as after a conversion."""


def is_weights_folder(name: str) -> bool:
    """Whether a name is that of a folder, there or not, and not of a model for `create_model`."""
    return Path(name).exists() or len(Path(name).parts) > 1


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

    Raises:
        WeightsError: the number of labels is not that of the classes.
    """
    if len(labels) != model.num_classes:
        raise WeightsError(f"{folder}: {len(labels)} labels for a model of {model.num_classes} classes")
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "lsn_version": lsn.__version__,
        "model": model.arguments,
        "labels": list(labels),
        "input": to_mapping(input),
        "frame_rates": None if frame_rates is None else to_mapping(frame_rates),
        "mean": list(model.mean),
        "std": list(model.std),
        "metrics": metrics,
        "untrained": list(untrained),
    }
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in (state or model.state_dict()).items()}
    with atomic_path(folder / TENSORS_NAME) as partial:
        partial.write_bytes(save(tensors))  # save_file would let nobody else read the file
    text = json.dumps(config, indent=2)  # ASCII, since labels that are names of folders need not be valid Unicode
    write_text(folder / CONFIG_NAME, f"{text}\n")


def load_weights(folder: str | Path) -> LoadedModel:
    """Loads a weights folder, in eval mode on the CPU.

    Raises:
        WeightsError: there is no such folder, it is incomplete, of another version, or does not fit its own model.
    """
    folder = Path(folder)
    config = _read_config(folder)
    try:
        arguments = dict(config["model"])
        if "memory_stages" in arguments:
            arguments["memory_stages"] = tuple(arguments["memory_stages"])
        model = create_model(**arguments)
        labels = tuple(config["labels"])
        input = from_mapping(InputConfig, config["input"], where=str(folder / CONFIG_NAME))
        if len(labels) != model.num_classes:
            raise WeightsError(f"{len(labels)} labels for a model of {model.num_classes} classes")
        _check_normalisation(model, mean=config["mean"], std=config["std"])
        metrics = dict(config.get("metrics", {}))
        frame_rates = _frame_rates(config.get("frame_rates"), where=str(folder / CONFIG_NAME))
        untrained = set(config.get("untrained", ()))
        tensors = load_file(folder / TENSORS_NAME)
        model.load_state_dict(tensors)
    except FileNotFoundError:
        raise WeightsError(f"{folder}: {TENSORS_NAME} is missing; copy the whole folder") from None
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder / CONFIG_NAME}: not complete or not understood ({error})") from error
    except LSNError as error:
        raise WeightsError(f"{folder / CONFIG_NAME}: {error}") from error
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{folder / TENSORS_NAME}: does not fit the model of {CONFIG_NAME}: {reason}") from error
    model.mark_trained(name for name, _ in model.named_parameters() if name not in untrained)
    return LoadedModel(model.eval(), labels, input, metrics, frame_rates)


def _frame_rates(mapping: dict[str, Any] | None, *, where: str) -> FrameRates | None:
    """What older folders do not tell is None."""
    return None if mapping is None else from_mapping(FrameRates, mapping, where=f"{where}: frame_rates")


def _check_normalisation(model: Recognizer, *, mean: list[float], std: list[float]) -> None:
    """Versions of timm may differ in what a CNN's name stands for."""
    if list(model.mean) != mean or list(model.std) != std:
        raise WeightsError(
            f"trained on frames normalised with mean {mean} and std {std}, but in this timm {model.name} expects "
            f"mean {list(model.mean)} and std {list(model.std)}; install the timm that it was trained with"
        )


def _read_config(folder: Path) -> dict[str, Any]:
    if folder.is_file():
        raise WeightsError(
            f"{folder}: expected a weights folder with {CONFIG_NAME} and {TENSORS_NAME}, not a file; "
            "pickled checkpoints can run code and are not read"
        )
    path = folder / CONFIG_NAME
    if not path.is_file():
        what = "holds no weights" if folder.is_dir() else "no such weights folder"
        raise WeightsError(f"{folder}: {what}; expected {CONFIG_NAME} and {TENSORS_NAME}, as `lsn train` writes them")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path}: not readable JSON ({error}); copy the whole folder again") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise WeightsError(f"{path}: not the description of LSN weights (its format is not {FORMAT!r})")
    if config.get("format_version") != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: format version {config.get('format_version')}, written by LSN {config.get('lsn_version')}; "
            f"this LSN ({lsn.__version__}) reads version {FORMAT_VERSION}: use the LSN that wrote it, or train again"
        )
    return config
