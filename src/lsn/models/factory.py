"""Models by name: what stands before the CNN's name says what is added to it."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lsn.config import MAX_FRAMES, ModelConfig
from lsn.errors import ModelError, did_you_mean, shown
from lsn.models.backbone import Stage, build_cnn, check_is_sequential, cut_stages, widen_input
from lsn.models.memory.blocks import ConvLSTM, HOConvLSTM
from lsn.models.memory.gru import PooledGRU
from lsn.models.recognizer import Recognizer

FAMILIES: dict[str, dict[str, str]] = {
    "tsn": {"memory": "none", "shift": "none"},
    "tsm": {"memory": "none", "shift": "bidirectional"},
    "gru": {"memory": "gru", "shift": "none"},
    "convlstm": {"memory": "convlstm", "shift": "none"},
    "lsn": {"memory": "ho_convlstm", "shift": "none"},
    "lsn_ss": {"memory": "ho_convlstm", "shift": "bidirectional"},
}
"""What each name stands for."""

TESTED_CNNS = (
    "test_resnet",
    "resnet10t",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "convnext_atto",
    "convnext_tiny",
    "regnety_002",
    "regnety_004",
)
"""CNNs that the tests run; any other CNN of timm that names its stages works too."""

_MEMORY_OPTIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "gru": ("reduction",),
    "convlstm": ("reduction", "kernel_size"),
    "ho_convlstm": ("reduction", "order", "steps", "rank", "kernel_size"),
}
_LARGEST = {
    "num_classes": 100_000,
    "num_frames": MAX_FRAMES,
    "reduction": 65_536,
    "kernel_size": 255,
    "order": 256,
    "steps": 256,
    "rank": 65_536,
}
"""Far above what anyone trains; more is a slip of the pen that would take all memory, or time without end."""
_SHIFTS = ("none", "bidirectional", "causal")


@dataclass(frozen=True, kw_only=True)
class ModelArguments(ModelConfig):
    """The settings of a network that weights are kept with: those of a recipe, but for what it starts from."""

    name: str = field()
    num_classes: int = 174
    pretrained: bool = field(default=False, init=False)
    backbone_weights: str | None = field(default=None, init=False)
    initial_weights: str | None = field(default=None, init=False)
    zero_init_memory: bool = field(default=True, init=False)

    def keywords(self) -> dict[str, Any]:
        """Arguments of `create_model`, with which it reads no file and asks for nothing."""
        own = {"name": self.name, "num_classes": self.num_classes, "num_frames": self.num_frames}
        return own | self.overrides()


_OVERRIDES = tuple(
    entry.name
    for entry in fields(ModelArguments)
    if entry.init and entry.name not in ("name", "num_classes", "num_frames")
)


def list_models(filter: str = "") -> list[str]:
    """Names of the tested models; `filter` is a part of the name or a pattern such as `lsn_*50`."""
    names = [f"{family}_{cnn}" for family in FAMILIES for cnn in TESTED_CNNS]
    pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]


def create_model(
    name: str,
    *,
    num_classes: int = 174,
    num_frames: int = 16,
    pretrained: bool = False,
    backbone_weights: str | None = None,
    zero_init_memory: bool = True,
    **overrides: Any,
) -> Recognizer:
    """Builds a model by name: `tsn_`, `tsm_`, `gru_`, `convlstm_`, `lsn_` or `lsn_ss_` before a CNN of timm.

    Args:
        name: for example `lsn_resnet50`.
        num_classes: classes of the classifier.
        num_frames: frames of the clips; kept with the weights.
        pretrained: start the CNN from timm's ImageNet weights.
        backbone_weights: start the CNN from this .safetensors file, or from `hf-hub:user/name` as timm writes it.
        zero_init_memory: memory blocks start as the identity, so that a pretrained CNN stays pretrained.
        overrides: memory, shift, memory_stages, frame_differences, dropout, reduction, order, steps, rank,
            kernel_size, readout_frames, multi_label (see `lsn.config.ModelConfig`).

    Raises:
        ModelError: an unknown name or option, or a value out of range.
        WeightsError: the weights could not be downloaded or do not fit.
    """
    model = _build(
        name,
        num_classes=num_classes,
        num_frames=num_frames,
        pretrained=pretrained,
        backbone_weights=backbone_weights,
        zero_init_memory=zero_init_memory,
        **overrides,
    )
    check_is_sequential(model.cnn, model.stages, model.tail)
    if pretrained or backbone_weights:
        model.mark_trained(f"cnn.{name}" for name, _ in model.cnn.named_parameters())
        model.reset_classifier(num_classes)
    return model


def outline_model(arguments: ModelArguments) -> Recognizer:
    """A model whose parameters have names, types and shapes but no memory and no numbers.

    It has all that is not saved with the weights, so weights can be assigned to it (`load_state_dict(assign=True)`)
    once they are known to fit; `check_is_sequential` is then still to be made.

    Raises:
        ModelError: an unknown name or option, or a value out of range.
    """
    with _Outline():
        return _build(**arguments.keywords())


def completed(outline: Recognizer) -> Recognizer:
    """A model that only lacks what weights bring: the outline itself, or the model built whole.

    A few CNNs compute what is not saved in memory that they ask for empty, where an outline has none.
    """
    saved = outline.state_dict()
    if any(tensor.is_meta and name not in saved for name, tensor in outline.named_buffers()):
        return _build(**outline.arguments)
    return outline


class _Outline(TorchFunctionMode):
    """Makes what modules create empty, to fill it with random numbers, on the meta device: without memory.

    Numbers that are computed, such as the mean of the frames, stay what they are, which they would not if everything
    were on the meta device.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _build(
    name: str,
    *,
    num_classes: int,
    num_frames: int,
    pretrained: bool = False,
    backbone_weights: str | None = None,
    zero_init_memory: bool = True,
    dropout: float = ModelConfig.dropout,
    **overrides: Any,
) -> Recognizer:
    family, cnn_name = split_name(name)
    for key in overrides:
        if key not in _OVERRIDES:
            raise ModelError(f"create_model has no option {key!r}; {did_you_mean(key, _OVERRIDES)}")
    _check_numbers(num_classes=num_classes, num_frames=num_frames, dropout=dropout, **overrides)
    memory = _choice("memory", overrides.get("memory", FAMILIES[family]["memory"]), tuple(_MEMORY_OPTIONS))
    shift = _choice("shift", overrides.get("shift", FAMILIES[family]["shift"]), _SHIFTS)
    cnn = build_cnn(cnn_name, num_classes=num_classes, dropout=dropout, pretrained=pretrained, weights=backbone_weights)
    # For few classes the classifier that timm gives a new EfficientNet or MobileNet has far too large weights.
    cnn.reset_classifier(num_classes)  # type: ignore[operator]
    if overrides.get("frame_differences"):
        widen_input(cnn, 6, zero_init=pretrained or backbone_weights is not None)
    stages, tail = cut_stages(cnn)
    return Recognizer(
        cnn,
        stages=stages,
        tail=tail,
        memory=_memory_blocks(stages, memory, overrides, zero_init=zero_init_memory),
        shift=None if shift == "none" else shift,  # type: ignore[arg-type]
        name=name,
        num_frames=num_frames,
        frame_differences=bool(overrides.get("frame_differences")),
        readout_frames=overrides.get("readout_frames"),
        multi_label=bool(overrides.get("multi_label")),
        arguments={"name": name, "num_classes": num_classes, "num_frames": num_frames, **overrides, "dropout": dropout},
    )


def _check_numbers(*, num_frames: int, dropout: float, readout_frames: int | None = None, **others: Any) -> None:
    for key, most in _LARGEST.items():
        value = num_frames if key == "num_frames" else others.get(key, 1)
        if value is not None and not 1 <= value <= most:
            raise ModelError(f"{key} is {shown(value)}; it must be at least 1 and at most {most}")
    if not 0 <= dropout < 1:
        raise ModelError(f"dropout is {dropout}; it must be at least 0 and under 1")
    if readout_frames is not None and not 1 <= readout_frames <= num_frames:
        raise ModelError(f"readout_frames is {readout_frames}; it must be between 1 and num_frames ({num_frames})")


def unused_options(name: str, overrides: dict[str, Any]) -> list[str]:
    """Overrides of `create_model` that change nothing, since the model has no memory of that kind.

    Raises:
        ModelError: an unknown name or memory.
    """
    family, _ = split_name(name)
    memory = _choice("memory", overrides.get("memory", FAMILIES[family]["memory"]), tuple(_MEMORY_OPTIONS))
    of_memory = ("memory_stages", *_MEMORY_OPTIONS["ho_convlstm"])
    used = ("memory_stages", *_MEMORY_OPTIONS[memory]) if memory != "none" else ()
    return [key for key in overrides if key in of_memory and key not in used]


def _memory_blocks(
    stages: tuple[Stage, ...], memory: str, overrides: dict[str, Any], *, zero_init: bool
) -> Mapping[int, ConvLSTM | PooledGRU]:
    if memory == "none":
        return {}
    last = len(stages) - 1
    chosen = overrides.get("memory_stages", (last,) if memory == "gru" else tuple(range(len(stages))))
    for position, number in enumerate(chosen):
        if number not in range(len(stages)):
            raise ModelError(f"memory_stages has {shown(number)}; the CNN's stages are 0 to {len(stages) - 1}")
        if number in chosen[:position]:
            raise ModelError(f"memory_stages has {number} twice; name each stage once")
    block = {"gru": PooledGRU, "convlstm": ConvLSTM, "ho_convlstm": HOConvLSTM}[memory]
    options = {key: overrides[key] for key in _MEMORY_OPTIONS[memory] if key in overrides}
    return {number: block(stages[number].num_channels, zero_init=zero_init, **options) for number in chosen}


def split_name(name: str) -> tuple[str, str]:
    """The family and the CNN of a model's name.

    Raises:
        ModelError: it is not the name of a model.
    """
    for family in sorted(FAMILIES, key=len, reverse=True):  # lsn_ss_ before lsn_
        if name.startswith(f"{family}_"):
            return family, name.removeprefix(f"{family}_")
    raise ModelError(
        f"{shown(name)} is not a model; names start with {', '.join(f'{f}_' for f in FAMILIES)}, "
        "followed by a CNN of timm: lsn_resnet50"
    )


def _choice(name: str, value: str, options: tuple[str, ...]) -> str:
    if value not in options:
        raise ModelError(f"{name} is {shown(value)}; {did_you_mean(str(value), options)}")
    return value
