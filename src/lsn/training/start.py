"""The network at the start of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from lsn.config import ModelConfig
from lsn.errors import ConfigError, WeightsError, shown
from lsn.models import Recognizer, create_model
from lsn.models.factory import unused_options
from lsn.models.weights import load_weights

logger = logging.getLogger(__name__)


def start_model(config: ModelConfig, labels: Sequence[str], *, seed: int) -> Recognizer:
    """Builds the network of a configuration, with the weights that it starts from.

    Raises:
        ConfigError: it is to start from two files.
        ModelError: the network cannot be built.
        WeightsError: the weights are missing or do not fit.
    """
    if config.initial_weights is not None and config.backbone_weights is not None:
        raise ConfigError(
            "model.initial_weights starts the whole network, its CNN included; "
            "leave out model.backbone_weights or model.initial_weights"
        )
    overrides = config.overrides()
    if unused := unused_options(config.name, overrides):
        keys = ", ".join(f"model.{key}" for key in unused)
        logger.warning("%s has no use for %s; the rest of the recipe holds", config.name, keys)
    torch.manual_seed(seed)
    model = create_model(
        config.name,
        num_classes=len(labels),
        num_frames=config.num_frames,
        pretrained=config.pretrained and config.initial_weights is None and config.backbone_weights is None,
        backbone_weights=config.backbone_weights,
        zero_init_memory=config.zero_init_memory,
        **overrides,
    )
    if config.initial_weights is not None:
        load_initial_weights(model, config.initial_weights, labels)
    return model


def load_initial_weights(model: Recognizer, folder: str, labels: Sequence[str]) -> None:
    """Starts a whole network from a weights folder.

    The rows of the classifier go by label name: labels that both sides know keep their row, without the temperature
    that the folder's probabilities were made right with; the others start fresh. Unless every label is known, the
    classifier counts as new, as does all that was never trained in the folder.

    Args:
        model: Of the same architecture; the number of frames and of classes may differ.
        folder: The weights folder.
        labels: Names of the model's classes.

    Raises:
        WeightsError: the folder is not readable, or a tensor is missing, left over or of another shape.
    """
    loaded = load_weights(folder)
    old, new = loaded.model.state_dict(), model.state_dict()
    head = {name for name in new if _is_classifier(model, name)}
    misfits = sorted(
        name
        for name in (old.keys() | new.keys()) - head
        if name not in old or name not in new or old[name].shape != new[name].shape
    )
    if misfits:
        raise WeightsError(
            f"{folder}: holds {loaded.model.name}, which does not fit {model.name}: {len(misfits)} tensors are "
            f"missing, left over or of another shape ({', '.join(misfits[:3])}); train the architecture that was saved"
        )
    if (loaded.model.shift is None) != (model.shift is None):  # which has no tensors that could differ
        logger.warning(
            "%s: holds %s with shift %s, but %s has shift %s: the tensors fit, but each frame sees other neighbours; "
            "model.name or model.shift makes them alike",
            folder,
            loaded.model.name,
            loaded.model.shift or "none",
            model.name,
            model.shift or "none",
        )
    rows = {label: row for row, label in enumerate(loaded.labels)}
    known = [(row, rows[label]) for row, label in enumerate(labels) if label in rows]
    temperature = loaded.metrics.get("temperature", 1.0)
    if not isinstance(temperature, int | float):
        raise WeightsError(f"{folder}: its temperature is {shown(temperature)}, not a number; save the weights again")
    for name in head:
        for row, old_row in known:
            new[name][row] = old[name][old_row] * temperature
    model.load_state_dict({name: new[name] if name in head else old[name] for name in new})
    untrained = loaded.model.new_parameter_names() | (head if len(known) < len(labels) else set())
    model.mark_trained(name for name, _ in model.named_parameters() if name not in untrained)
    logger.info("%s: its classifier knows %d of %d labels", folder, len(known), len(labels))


def _is_classifier(model: Recognizer, name: str) -> bool:
    classifier = model.get_classifier()
    module, _, _ = name.rpartition(".")
    return model.get_submodule(module) is classifier
