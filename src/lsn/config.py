"""The configuration of a run: frozen dataclasses, read from YAML, without torch.

A recipe is one complete YAML file with the sections of `RunConfig`. Unknown keys and wrong types are
refused with the allowed names; the resolved configuration is written beside the outputs of each run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from lsn.errors import ConfigError, did_you_mean, shown
from lsn.files import MAX_RECIPE_BYTES, read_text
from lsn.parsing import is_name, parse_yaml

T = TypeVar("T")

MAX_FRAMES = 4096
"""Frames a clip may have; those of a longer one would fill the memory."""
MAX_SIDE = 8192
"""Side of the frames that a network may see, in pixels."""
_MAX_INTEGER = 2**63


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and how it starts."""

    name: str = "lsn_resnet50"
    """A name of `lsn models`: tsn_*, tsm_*, convlstm_*, lsn_* or lsn_ss_* over a CNN of timm."""
    num_frames: int = 16
    """Frames a clip."""
    pretrained: bool = False
    """Start the CNN from timm's ImageNet weights (downloaded from the hub, or its local cache)."""
    backbone_weights: str | None = None
    """Start the CNN from this local .safetensors file instead."""
    initial_weights: str | None = None
    """Start the whole network from this weights folder; labels that its classifier does not know start fresh."""
    memory: Literal["none", "convlstm", "ho_convlstm"] | None = None
    """Overrides the memory that the name stands for."""
    shift: Literal["none", "bidirectional", "causal"] | None = None
    """Overrides the shift that the name stands for."""
    memory_stages: tuple[int, ...] | None = None
    """Stages of the CNN that a memory block follows, 0 to 3 (maps of 1/4 to 1/32 of the side); by default all."""
    reduction: int | None = None
    """Channels of a stage over hidden channels of its memory (default 16, never under 16 hidden channels)."""
    order: int | None = None
    """Order N of the memory: how many windows of past hidden states are accumulated (default 3)."""
    steps: int | None = None
    """Past hidden states S that the windows cover (default 3, at least `order`)."""
    rank: int | None = None
    """Channels R of the accumulated state (default max(8, hidden // 4))."""
    kernel_size: int | None = None
    """Side of the recurrent kernels, odd (default 3)."""
    dropout: float = 0.5
    """Dropout before the classifier."""
    answer_frames: int | None = None
    """Last frames of a clip whose mean is its answer (default all); those before are what the memory needs to know."""

    def __post_init__(self) -> None:
        expected = f"at least 1 and at most {MAX_FRAMES}"
        _require(1 <= self.num_frames <= MAX_FRAMES, "model.num_frames", self.num_frames, expected)
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        if self.answer_frames is not None:
            expected = f"between 1 and model.num_frames ({self.num_frames})"
            _require(1 <= self.answer_frames <= self.num_frames, "model.answer_frames", self.answer_frames, expected)

    def overrides(self) -> dict[str, Any]:
        """The keyword arguments of `lsn.create_model` that this configuration sets."""
        memory = ("memory", "memory_stages", "reduction", "order", "steps", "rank", "kernel_size")
        chosen = {name: getattr(self, name) for name in (*memory, "shift", "answer_frames")}
        return {name: value for name, value in chosen.items() if value is not None} | {"dropout": self.dropout}


@dataclass(frozen=True)
class DataConfig:
    """Where the clips are, and what happens to those that cannot be read."""

    train: str = ""
    """Manifest (.csv, .jsonl, TSN list .txt) or folder of class folders to train on."""
    val: str | None = None
    """The same for validation; without it `val_fraction` of `train` is set aside."""
    val_fraction: float = 0.2
    """Share of the clips set aside when `val` is not given, class by class."""
    root: str | None = None
    """Folder that the paths of the manifests start from; by default each manifest's own folder."""
    labels: str | None = None
    """File with one label a line that fixes the order; by default the sorted names found."""
    group_column: str | None = None
    """Column that names the source of a clip; a source is never split over train and val."""
    reader: Literal["pyav", "torchcodec"] = "pyav"
    """Decoder of video files; folders of JPEG frames are recognised by themselves."""
    on_unreadable: Literal["raise", "skip"] = "raise"
    """Stop at a clip that cannot be read, or leave it out, count it and list it in the report."""
    num_workers: int = 2
    """Processes that read clips; 0 reads in the training process."""

    def __post_init__(self) -> None:
        _require(0 < self.val_fraction < 1, "data.val_fraction", self.val_fraction, "between 0 and 1")
        _require(self.num_workers >= 0, "data.num_workers", self.num_workers, "0 or more")


@dataclass(frozen=True)
class InputConfig:
    """From frames to the tensor that the network sees."""

    size: int = 224
    """Side of the square that the network sees, in pixels."""
    short_side: int = 256
    """For evaluation the frames' short side is brought to this before cropping; training crops at full size."""
    sampling: Literal["segments", "dense", "timed"] = "segments"
    """TSN's one frame a segment over the whole clip, neighbours `frame_stride` apart, or `fps` frames a second."""
    frame_stride: int = 4
    """Distance of neighbours under dense sampling, in frames."""
    fps: float = 8.0
    """Frames a second under timed sampling, whatever the video's own rate."""
    fps_jitter: float = 1.0
    """Timed training clips have any rate from fps / fps_jitter to fps * fps_jitter; 1 is off."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """Multi-scale crop: sides of the crop over the short side."""
    color_jitter: float = 0.0
    """Strength of brightness, contrast and saturation jitter, the same for all frames of a clip."""
    rand_augment_layers: int = 0
    """Operations of RandAugment a clip; 0 is off."""
    rand_augment_magnitude: int = 9
    """Strength of RandAugment, 0 to 30."""
    horizontal_flip: bool = True
    """Mirror half of the clips. Classes that name left or right swap with their mirror class, or are left alone."""

    def __post_init__(self) -> None:
        _require(1 <= self.size <= MAX_SIDE, "input.size", self.size, f"at least 1 and at most {MAX_SIDE}")
        expected = f"at least input.size ({self.size}) and at most {MAX_SIDE}"
        _require(self.size <= self.short_side <= MAX_SIDE, "input.short_side", self.short_side, expected)
        _require(self.frame_stride >= 1, "input.frame_stride", self.frame_stride, "at least 1")
        _require(self.fps > 0, "input.fps", self.fps, "above 0")
        _require(self.fps_jitter >= 1, "input.fps_jitter", self.fps_jitter, "at least 1")
        _require(bool(self.scales) and all(0 < s <= 1 for s in self.scales), "input.scales", self.scales, "in (0, 1]")
        _require(self.color_jitter >= 0, "input.color_jitter", self.color_jitter, "0 or more")
        _require(self.rand_augment_layers >= 0, "input.rand_augment_layers", self.rand_augment_layers, "0 or more")
        magnitude = self.rand_augment_magnitude
        _require(0 <= magnitude <= 30, "input.rand_augment_magnitude", magnitude, "between 0 and 30")


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and learning-rate schedule."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum, or AdamW."""
    learning_rate: float = 0.01
    """Peak learning rate, for the batch size as configured (it is not rescaled)."""
    momentum: float = 0.9
    """Momentum of SGD; the first beta of AdamW."""
    beta2: float = 0.999
    """Second beta of AdamW: how long it remembers the size of gradients."""
    weight_decay: float = 5e-4
    """Decay of weights; biases and norm parameters are never decayed."""
    new_layer_factor: float = 1.0
    """Factor on the learning rate of layers that did not start from trained weights."""
    schedule: Literal["cosine", "step"] = "cosine"
    """Cosine to zero, or a drop by `step_factor` at each of `step_epochs`."""
    step_epochs: tuple[float, ...] = ()
    """Epochs at which the step schedule drops."""
    step_factor: float = 0.1
    """What the step schedule multiplies by."""
    warmup_epochs: float = 0.0
    """Epochs of linear warm-up from a hundredth of the rate."""
    clip_grad_norm: float = 20.0
    """Largest norm of the gradient; 0 is off."""

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "optim.learning_rate", self.learning_rate, "above 0")
        _require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "in [0, 1)")
        _require(0 <= self.beta2 < 1, "optim.beta2", self.beta2, "in [0, 1)")
        _require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        _require(self.new_layer_factor > 0, "optim.new_layer_factor", self.new_layer_factor, "above 0")
        _require(self.warmup_epochs >= 0, "optim.warmup_epochs", self.warmup_epochs, "0 or more")
        _require(self.clip_grad_norm >= 0, "optim.clip_grad_norm", self.clip_grad_norm, "0 or more")
        if self.schedule == "step":
            _require(bool(self.step_epochs), "optim.step_epochs", self.step_epochs, "given with schedule: step")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, in what batches and precision, with what regularisation."""

    epochs: int = 50
    """Passes over the training clips."""
    batch_size: int = 8
    """Clips a forward pass and process."""
    accumulate: int = 1
    """Forward passes whose gradients are added before the weights move; together they are one step."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """Automatic mixed precision, or none."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, which is then what is evaluated and saved; 0 is off."""
    batch_norm: Literal["train", "sync", "partial", "frozen"] = "train"
    """Statistics by process; over all processes; only the first norm and those of new layers learn; only the latter."""
    frozen_stages: int = 0
    """First stages of the CNN, 0 to 4, that keep their starting weights; memory blocks learn all the same."""
    grad_checkpointing: bool = False
    """Recompute the CNN's activations in the backward pass instead of keeping them."""
    compile: bool = False
    """Run the network through PyTorch's compiler, which takes a minute or two at the start."""
    carry_state: float = 0.0
    """Share of the clips that start from the memory that another clip left, as in a stream; the others from zeros."""
    chunk_frames: int = 0
    """Most frames that a gradient goes back through, so that memory stays flat in longer clips; 0 is the whole clip."""
    seed: int = 0
    """Fixes weights, order, sampling and augmentation."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."""
    evaluate_every: int = 1
    """Epochs between validations; the last epoch is always validated."""
    checkpoint_every: int = 0
    """Steps between checkpoints inside an epoch; the end of an epoch always has one. 0 is off."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the extra `tb`)."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "evaluate_every"):
            _require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "at least 1")
        _require(0 <= self.seed < _MAX_INTEGER, "training.seed", self.seed, "between 0 and 2^63 - 1")
        _require(0 <= self.label_smoothing < 1, "training.label_smoothing", self.label_smoothing, "in [0, 1)")
        _require(0 <= self.ema_decay < 1, "training.ema_decay", self.ema_decay, "in [0, 1)")
        _require(0 <= self.frozen_stages <= 4, "training.frozen_stages", self.frozen_stages, "between 0 and 4")
        _require(0 <= self.carry_state <= 1, "training.carry_state", self.carry_state, "in [0, 1]")
        _require(self.chunk_frames >= 0, "training.chunk_frames", self.chunk_frames, "0 or more")
        if self.compile and self.grad_checkpointing:
            raise ConfigError(
                "training.compile and training.grad_checkpointing cannot go together, as the compiler decides by "
                "itself what the backward pass computes again; set one of them to false"
            )
        _require(self.checkpoint_every >= 0, "training.checkpoint_every", self.checkpoint_every, "0 or more")


@dataclass(frozen=True)
class EvaluationConfig:
    """Views of a video and how they are averaged."""

    num_clips: int = 1
    """Clips a video; two are TSN's centre and start of each segment."""
    num_crops: Literal[1, 3] = 1
    """Centre crop, or left, centre and right (top and bottom for tall videos)."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the views: logits before, or probabilities after the softmax."""
    batch_size: int = 8
    """Views a forward pass; it does not change the result."""

    def __post_init__(self) -> None:
        _require(1 <= self.num_clips <= 1000, "evaluation.num_clips", self.num_clips, "between 1 and 1000")
        _require(self.batch_size >= 1, "evaluation.batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True)
class RunConfig:
    """One experiment, whole."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    input: InputConfig = field(default_factory=InputConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if self.training.chunk_frames and self.model.answer_frames:
            raise ConfigError(
                f"model.answer_frames is {self.model.answer_frames} and training.chunk_frames "
                f"{self.training.chunk_frames}: each chunk learns the label, which only the last frames show; set one "
                "of them to null or 0"
            )


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a recipe and applies `section.key=value` overrides, whose values are YAML.

    Raises:
        ConfigError: the file is missing, is not YAML, or has an unknown key or a wrong value.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"{path}: no such recipe; `lsn recipes` lists those that come with LSN")
    text = read_text(path, "recipe", error=ConfigError, max_bytes=MAX_RECIPE_BYTES)
    loaded = _parse(text, f"{path}: not a readable YAML file")
    if not isinstance(loaded, dict):
        sections = ", ".join(f.name for f in dataclasses.fields(RunConfig))
        raise ConfigError(f"{path}: expected a mapping with the sections {sections}")
    for override in overrides:
        _apply_override(loaded, override)
    return from_mapping(RunConfig, loaded, where=str(path))


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Builds a configuration dataclass from plain data, checking names and types.

    Raises:
        ConfigError: names the place, the key, what was expected, and the nearest allowed name.
    """
    hints = typing.get_type_hints(cls)
    for key in mapping:
        if key not in hints:
            name = key if isinstance(key, str) else shown(key)
            raise ConfigError(f"{where}: unknown key {shown(key)}; {did_you_mean(name, hints)}")
    needed = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]  # type: ignore[arg-type]
    if lacking := [name for name in needed if name not in mapping]:
        raise ConfigError(f"{where}: {', '.join(lacking)} is missing; the file is not complete")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in mapping.items()})


def to_mapping(config: Any) -> dict[str, Any]:
    """Plain data of a configuration, for YAML and JSON; `from_mapping` reads it back."""
    mapping: dict[str, Any] = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            value = to_mapping(value)
        mapping[entry.name] = list(value) if isinstance(value, tuple) else value
    return mapping


def to_yaml(config: RunConfig) -> str:
    """The resolved recipe as YAML text."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False)


def _apply_override(mapping: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{shown(override)}: expected section.key=value, for example training.epochs=10")
    *parents, last = key.split(".")
    for parent in parents:
        mapping = mapping.setdefault(parent, {})
        if not isinstance(mapping, dict):
            raise ConfigError(f"{shown(override)}: {shown(parent)} is not a section")
    mapping[last] = _parse(text, f"{shown(override)}: the value is not YAML")


def _parse(text: str, what: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Checks plain data against a type hint; integers pass as floats and lists become tuples."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a section, got {shown(value)}")
        return from_mapping(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = (a for a in arguments if a is not types.NoneType)
        return _convert(inner, value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            name = value if isinstance(value, str) else shown(value)
            raise ConfigError(f"{where}: {shown(value)} is not allowed; {did_you_mean(name, map(str, arguments))}")
        return arguments[arguments.index(value)]  # 3 where YAML says 3.0
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {shown(value)}")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-3 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
        raise ConfigError(f"{where}: expected a number of at most 64 bits, got {shown(value)}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: expected a finite number, got {value!r}")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {shown(value)}")
    if isinstance(value, str) and not is_name(value):
        raise ConfigError(f"{where}: expected text without NUL and halves of characters, got {shown(value)}")
    return value


def _require(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {shown(value)}; it must be {expected}")
