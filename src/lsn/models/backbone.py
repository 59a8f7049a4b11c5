"""A CNN of timm, cut into the stages that memory blocks follow.

timm's CNNs declare their stages (`feature_info`) and run their children in order. That is checked for every CNN once it
has its numbers, so an architecture for which it does not hold is refused and never computed wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, nn

from lsn.config.json_files import CONFIG_NAME, TENSORS_NAME
from lsn.errors import ModelError, WeightsError, did_you_mean, shown
from lsn.files import read_text
from lsn.hub import HUB_PREFIX, hub_folder
from lsn.parsing import parse_json
from lsn.tensor_file import TensorKind, misfits, open_tensors

MAX_STAGES = 4
STANDARDISED = (StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame)
_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)
"""An architecture and the tag of its weights; timm takes other names for addresses and folders."""
_HEAD_STARTS = ("global_pool", "head", "head_drop", "fc", "classifier")


@dataclass(frozen=True)
class Stage:
    """A run of the CNN's modules, up to a feature map that a memory block may follow."""

    name: str
    """Name of the last module, as in timm."""
    modules: tuple[str, ...]
    """Names of the modules, in order."""
    num_channels: int
    """Channels of the feature map."""
    reduction: int
    """Side of the image over side of the feature map."""


def build_cnn(
    name: str, *, num_classes: int, dropout: float, pretrained: bool = False, weights: str | None = None
) -> nn.Module:
    """Builds timm's CNN `name`, with its ImageNet weights, those of a local .safetensors file or of `hf-hub:user/name`.

    Raises:
        ModelError: timm has no such CNN.
        WeightsError: the weights could not be downloaded or do not fit.
    """
    if not _NAME.fullmatch(name) or not timm.is_model(name.split(".")[0]):
        raise ModelError(f"timm has no CNN {shown(name)}; {_nearest_cnn(name)}")
    try:
        cnn = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, drop_rate=dropout)
    except (RuntimeError, OSError, ValueError, KeyError, TypeError) as error:
        if pretrained:
            raise WeightsError(
                f"the ImageNet weights of {name} could not be downloaded from the hub ({_one_line(error)}); "
                "give a local .safetensors file, or hf-hub:user/name, with backbone_weights"
            ) from error
        raise ModelError(f"{name}: {_one_line(error)}") from error
    if weights is not None:
        is_at_hub = weights.startswith(HUB_PREFIX)
        _load_cnn_weights(cnn, name, _from_hub(cnn, name, weights) if is_at_hub else Path(weights))
    return cnn


def _from_hub(cnn: Any, name: str, weights: str) -> Path:
    """The file of weights that timm pushed to the Hub, once its description fits the CNN."""
    folder = hub_folder(weights, (CONFIG_NAME, TENSORS_NAME))
    try:
        about = parse_json(read_text(folder / CONFIG_NAME, "description of timm's weights", error=WeightsError))
        found = about["architecture"], *(tuple(about["pretrained_cfg"][key]) for key in ("mean", "std"))
    except (ValueError, LookupError, TypeError) as error:
        raise WeightsError(f"{weights}: {CONFIG_NAME} is not that of a CNN of timm ({error!r})") from None
    mean, std = (tuple(cnn.pretrained_cfg[key]) for key in ("mean", "std"))
    if found != (name.split(".")[0], mean, std):
        raise WeightsError(
            f"{weights}: holds timm's {shown(found[0])} for frames normalised with mean {shown(found[1])} and std "
            f"{shown(found[2])}, but {name} expects {mean} and {std}; train the CNN that the weights are of"
        )
    return folder / TENSORS_NAME


def _load_cnn_weights(cnn: Any, name: str, path: Path) -> None:
    """Loads everything but the classifier; nothing may be missing or left over."""
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: expected a .safetensors file; pickled weights can run code and are not read")
    classifier = f"{cnn.pretrained_cfg['classifier']}."
    expected = {key: TensorKind.of(t) for key, t in cnn.state_dict().items() if not key.startswith(classifier)}
    with open_tensors(path, f"weights of timm's {name}") as file:
        kinds = {key: kind for key, kind in file.kinds.items() if not key.startswith(classifier)}
        if odd := misfits(kinds, expected):
            raise WeightsError(
                f"{path}: these are not weights of timm's {name}: {', '.join(odd[:3])} ({len(odd)} in all)"
            )
        cnn.load_state_dict(file.mapped(kinds), strict=False)


def widen_input(cnn: Any, num_channels: int, *, zero_init: bool) -> None:
    """Gives the first convolution of a CNN more channels, weighted by zero so that it sees what it saw, or at random.

    Raises:
        ModelError: the CNN does not declare its first convolution, or standardises its weights.
    """
    name = cnn.pretrained_cfg.get("first_conv")
    conv = cnn.get_submodule(name) if isinstance(name, str) else None
    if not isinstance(conv, nn.Conv2d) or conv.groups != 1 or isinstance(conv, STANDARDISED):
        raise ModelError(
            f"{type(cnn).__name__} has no convolution to see frame differences; leave frame_differences out"
        )
    weight = conv.weight.detach()
    more = torch.randn(weight.shape[0], num_channels - conv.in_channels, *weight.shape[2:])
    more = more.to(weight) * (0.0 if zero_init else weight.std())
    conv.weight = nn.Parameter(torch.cat([weight, more], dim=1))
    conv.in_channels = num_channels


def cut_stages(cnn: Any) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
    """Finds the last four stages of a timm CNN, and the modules between the last stage and the head.

    Whether the CNN is no more than these in order is for `check_is_sequential` to say.

    Raises:
        ModelError: the CNN does not declare its stages.
    """
    name = type(cnn).__name__
    info = getattr(cnn, "feature_info", [])
    info = list(getattr(info, "info", info))
    order = _module_order(cnn, [entry["module"] for entry in info])
    if not info or any(entry["module"] not in order for entry in info):
        raise ModelError(
            f"{name} does not declare its stages (feature_info); choose a staged CNN, for example resnet50"
        )
    stages, start = [], 0
    for entry in info[-MAX_STAGES:]:
        end = order.index(entry["module"]) + 1
        stages.append(Stage(entry["module"], tuple(order[start:end]), entry["num_chs"], entry["reduction"]))
        start = end
    return tuple(stages), tuple(order[start:])


@torch.no_grad()
def check_is_sequential(cnn: Any, stages: tuple[Stage, ...], tail: tuple[str, ...]) -> None:
    """Makes sure that stages and tail, run in order, are all that the CNN computes before its head.

    They are run beside the CNN's own forward pass, so it needs numbers: random ones, or those of its weights.

    Raises:
        ModelError: they are not.
    """
    was_training = cnn.training
    cnn.eval()
    in_channels = next(module.in_channels for module in cnn.modules() if isinstance(module, nn.Conv2d))
    image_NCHW = x_NCHW = torch.linspace(-1, 1, in_channels * 64 * 64).reshape(1, in_channels, 64, 64)
    try:
        maps_fit = True
        for stage in stages:
            x_NCHW = run_modules(cnn, stage.modules, x_NCHW)
            maps_fit &= x_NCHW.ndim == 4 and x_NCHW.shape[1] == stage.num_channels
        y_NCHW, expected_NCHW = run_modules(cnn, tail, x_NCHW), cnn.forward_features(image_NCHW)
        same = maps_fit and torch.allclose(y_NCHW, expected_NCHW, rtol=0, atol=0, equal_nan=True)
    except (RuntimeError, TypeError, ValueError, AssertionError):  # what modules raise when they are fed out of order
        same = False
    cnn.train(was_training)
    if not same:
        raise ModelError(
            f"{type(cnn).__name__} is not a plain sequence of stages, so no memory can be put between them; "
            "choose a staged CNN such as resnet50 (`lsn models` lists those that are tested)"
        )


def run_modules(cnn: nn.Module, names: tuple[str, ...], x_NCHW: Tensor) -> Tensor:
    """Runs modules of the CNN one after the other."""
    for name in names:
        x_NCHW = cnn.get_submodule(name)(x_NCHW)
    return x_NCHW


def cut_blocks(cnn: nn.Module, names: Sequence[str]) -> list[list[str]]:
    """Modules of the CNN in runs that begin with a convolution or a norm, each block of a stage by itself.

    An activation may change its input in place, so it stays behind the module that made it.
    """
    runs: list[list[str]] = []
    loose: list[str] | None = None  # a run that simple modules are added to
    for name in names:
        module = cnn.get_submodule(name)
        if type(module) is nn.Sequential and all(_is_block(child) for child in module):
            runs += [[f"{name}.{child}"] for child, _ in module.named_children()]
            loose = None
        elif _is_block(module):
            runs.append([name])
            loose = None
        elif loose is None:
            runs.append(loose := [name])
        else:
            loose.append(name)
    return runs


def _is_block(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d | nn.Linear) for child in module.children() for part in child.modules())


def _module_order(cnn: nn.Module, stage_names: list[str]) -> list[str]:
    """Names of the modules before the head; a child that holds several stages is opened."""
    order: list[str] = []
    for name, child in cnn.named_children():
        if name in _HEAD_STARTS:
            break
        inside = any(stage.startswith(f"{name}.") for stage in stage_names)
        order += [f"{name}.{sub}" for sub, _ in child.named_children()] if inside else [name]
    return order


def _nearest_cnn(name: str) -> str:
    hint = did_you_mean(name, timm.list_models())
    return hint if hint.startswith("did") else "`lsn models` lists the CNNs that are tested"


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:200] or type(error).__name__
