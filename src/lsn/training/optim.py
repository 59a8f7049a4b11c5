"""Optimisers, parameter groups and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import nn

from lsn.errors import ConfigError, shown


def parameter_groups(
    model: nn.Module, *, new_names: Collection[str], new_layer_lr_mult: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Sorts the parameters that learn by learning rate and decay.

    Vectors and scalars (biases, the scales of norms and layers) are not decayed.

    Args:
        model: The network; its parameters without `requires_grad` are left out.
        new_names: Names of the parameters that did not start from trained weights.
        new_layer_lr_mult: Factor on the learning rate of those.
        weight_decay: Decay of matrices and kernels.

    Returns:
        Groups with `params`, `weight_decay` and `rate_factor`, in a fixed order, none empty.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_new, decays = name in new_names, parameter.ndim > 1
        fresh = {
            "params": [],
            "weight_decay": weight_decay if decays else 0.0,
            "rate_factor": new_layer_lr_mult if is_new else 1.0,
        }
        groups.setdefault((is_new, decays), fresh)["params"].append(parameter)
    return list(groups.values())


def create_optimizer(
    groups: list[dict[str, Any]], *, name: Literal["sgd", "adamw"], learning_rate: float, momentum: float, beta2: float
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW with the betas `momentum` and `beta2`, over `parameter_groups`."""
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(momentum, beta2))


def scaled_learning_rate(
    learning_rate: float, *, optimizer: Literal["sgd", "adamw"], clips_per_step: int, base_size: int
) -> float:
    """The peak learning rate of steps of `clips_per_step` clips, from the one for steps of `base_size`.

    Proportional for SGD; with the square root for AdamW, whose steps are already divided by the size of the gradients.

    Args:
        learning_rate: The rate for steps of `base_size` clips, or for any step if that is 0.
        optimizer: What moves the weights.
        clips_per_step: Clips behind each update of the weights, over all processes.
        base_size: Clips that the rate is given for; 0 leaves it as it is.

    Source:
        Goyal et al., Accurate, large minibatch SGD, 2017; Malladi et al., On the SDEs and scaling rules for adaptive
        gradient algorithms, NeurIPS 2022.
    """
    if not base_size:
        return learning_rate
    ratio = clips_per_step / base_size
    return learning_rate * (ratio if optimizer == "sgd" else math.sqrt(ratio))


class Schedule:
    """The factor on the learning rate at each step.

    Warm-up rises in a straight line from a hundredth; then the cosine falls to zero at the end of the run, or
    the step schedule multiplies by `step_factor` at each of `step_epochs`.

    Args:
        kind: "cosine" or "step".
        epochs: Length of the run.
        steps_per_epoch: Updates of the weights an epoch.
        warmup_epochs: Length of the warm-up.
        step_epochs: Epochs, fractions allowed, at which the step schedule drops.
        step_factor: What it multiplies by.

    Raises:
        ConfigError: the warm-up is as long as the run.
    """

    def __init__(
        self,
        kind: Literal["cosine", "step"],
        *,
        epochs: int,
        steps_per_epoch: int,
        warmup_epochs: float = 0.0,
        step_epochs: Collection[float] = (),
        step_factor: float = 0.1,
    ) -> None:
        if warmup_epochs >= epochs:
            raise ConfigError(
                f"optim.warmup_epochs is {warmup_epochs}, but the run has {epochs} epochs (training.epochs) "
                "and would never reach its learning rate; make the warm-up shorter or the run longer"
            )
        self.kind = kind
        self.num_steps = epochs * steps_per_epoch
        self.warmup_steps = round(warmup_epochs * steps_per_epoch)
        self.drop_steps = [round(epoch * steps_per_epoch) for epoch in step_epochs]
        self.step_factor = step_factor

    def factor(self, step: int) -> float:
        """The factor for the update after `step` updates."""
        if step < self.warmup_steps:
            return 0.01 + 0.99 * step / self.warmup_steps
        if self.kind == "step":
            return self.step_factor ** sum(step >= drop for drop in self.drop_steps)
        done = (step - self.warmup_steps) / (self.num_steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of every group, times its `rate_factor`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate_factor"]


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Gives an optimiser the state of another over the same parameters; torch itself looks at no type or shape.

    Raises:
        KeyError, TypeError, ValueError: it is the state of an optimiser over other parameters, or of none.
    """
    for group, saved_group in zip(optimizer.state_dict()["param_groups"], saved["param_groups"], strict=True):
        for name, value in group.items():  # what an older torch did not have yet keeps its default
            if not _is_alike(value, saved_group.get(name, value)):
                raise TypeError(f"the optimizer's {name} is {shown(saved_group[name])}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in saved["state"].items():
        for name, value in values.items():
            is_number = value is None or isinstance(value, int | float)
            if not is_number and value.shape not in (torch.Size(), parameters[number].shape):
                raise ValueError(f"the optimizer's {name} of parameter {number} has the shape {tuple(value.shape)}")
    optimizer.load_state_dict(saved)


def _is_alike(value: Any, other: Any) -> bool:
    if isinstance(value, list | tuple):
        return isinstance(other, list | tuple) and all(map(_is_alike, value, other)) and len(value) == len(other)
    if isinstance(value, int | float):
        return isinstance(other, int | float)
    return value is None or isinstance(other, type(value))
