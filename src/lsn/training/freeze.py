"""Keeping the first stages of a CNN as they are, while what stands on them learns."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lsn.errors import ConfigError
from lsn.models import Recognizer


def freeze_stages(model: Recognizer, num_stages: int) -> list[nn.Module]:
    """Stops the first stages of the CNN from learning; the memory blocks behind them go on.

    Args:
        model: The network.
        num_stages: Stages counted from the image, what stands before the first one included.

    Returns:
        Their batch norms, whose statistics stop while they are in eval mode, see `enter_training`.

    Raises:
        ConfigError: the CNN has fewer stages, or they hold weights that were never trained.
    """
    if num_stages > len(model.stages):
        raise ConfigError(f"training.frozen_stages is {num_stages}, but {model.name} has {len(model.stages)} stages")
    names = [name for stage in model.stages[:num_stages] for name in stage.modules]
    new = model.new_parameter_names()
    norms: list[nn.Module] = []
    for name in names:
        module = model.cnn.get_submodule(name)
        if any(f"cnn.{name}.{parameter}" in new for parameter, _ in module.named_parameters()):
            raise ConfigError(
                f"training.frozen_stages is {num_stages}, but {name} has random weights; give model.pretrained, "
                "model.backbone_weights or model.initial_weights"
            )
        module.requires_grad_(False)
        norms += [part for part in module.modules() if isinstance(part, _BatchNorm)]
    return norms
