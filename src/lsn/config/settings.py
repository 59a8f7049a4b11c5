"""The settings of a run: frozen dataclasses with their defaults, without torch.

The docstrings of classes and fields are also the comments of the YAML files that `lsn recipes` prints, so a field's is
one line that suits the value as YAML writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lsn.config.checks import require
from lsn.config.timelines import TimelineConfig
from lsn.errors import ConfigError

MAX_FRAMES = 4096
"""Frames per clip may have; those of a longer one would fill the memory."""
MAX_SIDE = 8192
"""Side of the frames that a network may see, in pixels."""
MAX_INTEGER = 2**63
"""Integers are below this in size, so that they fit into tensors."""


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and how it starts."""

    name: str = "lsn_resnet50"
    """A name of `lsn models`: tsn_, tsm_, gru_, convlstm_, lsn_ or lsn_ss_ over timm's CNNs."""
    num_frames: int = 16
    """Frames per clip."""
    pretrained: bool = True
    """Start the CNN from timm's ImageNet weights (downloaded once) if none are given below."""
    backbone_weights: str | None = None
    """Start the CNN from this .safetensors file, or from hf-hub:user/name, instead."""
    initial_weights: str | None = None
    """Start the whole network from this weights folder or user/name; labels it lacks start fresh."""
    zero_init_memory: bool = True
    """Memory blocks start as the identity, so that a pretrained CNN stays pretrained."""
    memory: Literal["none", "gru", "convlstm", "ho_convlstm"] | None = None
    """none, gru, convlstm or ho_convlstm; null is what the name stands for."""
    shift: Literal["none", "bidirectional", "causal"] | None = None
    """none, bidirectional or causal; null is what the name stands for."""
    memory_stages: tuple[int, ...] | None = None
    """Stages of the CNN, 0 to 3, that a memory block follows; null is all, of a GRU the last."""
    reduction: int | None = None
    """Channels of a stage over those of its memory, which has at least 16; null is 16, of a GRU 2."""
    order: int | None = None
    """Order N of the memory: windows of past hidden states that are accumulated; null is 3."""
    steps: int | None = None
    """Past hidden states S that the windows cover, at least `order`; null is 3."""
    rank: int | None = None
    """Channels R of the accumulated state; null is a quarter of the memory's, at least 8."""
    kernel_size: int | None = None
    """Side of the recurrent kernels, odd; null is 3."""
    frame_differences: bool = False
    """The CNN also sees what changed since the frame before, as three more channels."""
    dropout: float = 0.5
    """Dropout before the classifier."""
    readout_frames: int | None = None
    """Last frames whose mean is the answer, the others fill the memory; null is all."""

    multi_label: bool = False
    """Events of timelines may overlap: a yes or no for each label, and no class for background."""

    def __post_init__(self) -> None:
        expected = f"at least 1 and at most {MAX_FRAMES}"
        require(1 <= self.num_frames <= MAX_FRAMES, "model.num_frames", self.num_frames, expected)
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        if self.readout_frames is not None:
            expected = f"between 1 and model.num_frames ({self.num_frames})"
            require(1 <= self.readout_frames <= self.num_frames, "model.readout_frames", self.readout_frames, expected)

    def overrides(self) -> dict[str, Any]:
        """The keyword arguments of `lsn.create_model` that this configuration sets."""
        memory = ("memory", "memory_stages", "reduction", "order", "steps", "rank", "kernel_size")
        chosen = {name: getattr(self, name) for name in (*memory, "shift", "readout_frames")}
        chosen |= {name: getattr(self, name) or None for name in ("frame_differences", "multi_label")}
        return {name: value for name, value in chosen.items() if value is not None} | {"dropout": self.dropout}


@dataclass(frozen=True)
class DataConfig:
    """Where the videos are, and what happens to those that cannot be read."""

    kind: Literal["clips", "timelines"] = "clips"
    """clips: videos with one label each; timelines: long videos with events."""
    train: str = ""
    """Manifest (.csv, .jsonl, TSN .txt), folder of class folders, or timelines to train on."""
    val: str | None = None
    """The same for validation; null sets aside `val_fraction` of `train`."""
    test: str | None = None
    """Clips that the kept weights are tested on at the end; they choose nothing."""
    val_fraction: float = 0.2
    """Share of the clips that is set aside, class by class."""
    clips_per_class: int = 0
    """Clips of each class to train on, drawn by the seed; 0 is all."""
    root: str | None = None
    """Folder that the paths in manifests start from; null is each manifest's own folder."""
    labels: str | None = None
    """File with one label per line that fixes their order; null sorts the names found."""
    group_column: str | None = None
    """Column that names the source of a clip; a source is never split over train and val."""
    reader: Literal["pyav", "torchcodec"] = "pyav"
    """Decoder of video files, pyav or torchcodec; folders of JPEG frames need none."""
    shuffle_buffer: int | None = None
    """Clips that are shuffled together while shards come in random order; null shuffles all clips."""
    on_unreadable: Literal["raise", "skip"] = "raise"
    """A clip that cannot be read: raise stops; skip leaves it out and lists it in the report."""
    num_workers: int = 2
    """Processes that read clips; 0 reads in the training process."""

    def __post_init__(self) -> None:
        require(0 < self.val_fraction < 1, "data.val_fraction", self.val_fraction, "between 0 and 1")
        require(self.clips_per_class >= 0, "data.clips_per_class", self.clips_per_class, "0 or more")
        require((self.shuffle_buffer or 1) >= 1, "data.shuffle_buffer", self.shuffle_buffer, "at least 1, or null")
        require(self.num_workers >= 0, "data.num_workers", self.num_workers, "0 or more")


@dataclass(frozen=True)
class InputConfig:
    """From frames to the tensor that the network sees."""

    size: int = 224
    """Side of the square that the network sees, in pixels."""
    short_side: int = 256
    """Short side of the frames before an evaluation's crop; training crops at full size."""
    sampling: Literal["segments", "dense", "timed"] = "segments"
    """segments: one frame of each; dense: `frame_stride` apart; timed: `fps` per second."""
    frame_stride: int = 4
    """Distance of neighbours under dense sampling, in frames."""
    fps: float = 8.0
    """Frames per second under timed sampling, whatever the video's own rate."""
    fps_jitter: float = 1.0
    """Timed training clips have rates from fps / fps_jitter to fps * fps_jitter; 1 is off."""
    min_span: float = 1.0
    """Shortest share of a video whose segments make a training clip; 1 is the whole video."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """Sides of the random crop over the short side."""
    color_jitter: float = 0.0
    """Strength of brightness, contrast and saturation jitter, the same in a whole clip."""
    rand_augment_layers: int = 0
    """Operations of RandAugment per clip; 0 is off."""
    rand_augment_magnitude: int = 9
    """Strength of RandAugment, 0 to 30."""
    horizontal_flip: bool = True
    """Mirror half of the clips; left and right classes swap, or stay if one has no partner."""

    def __post_init__(self) -> None:
        require(1 <= self.size <= MAX_SIDE, "input.size", self.size, f"at least 1 and at most {MAX_SIDE}")
        expected = f"at least input.size ({self.size}) and at most {MAX_SIDE}"
        require(self.size <= self.short_side <= MAX_SIDE, "input.short_side", self.short_side, expected)
        require(self.frame_stride >= 1, "input.frame_stride", self.frame_stride, "at least 1")
        require(self.fps > 0, "input.fps", self.fps, "above 0")
        require(self.fps_jitter >= 1, "input.fps_jitter", self.fps_jitter, "at least 1")
        require(0 < self.min_span <= 1, "input.min_span", self.min_span, "in (0, 1]")
        require(bool(self.scales) and all(0 < s <= 1 for s in self.scales), "input.scales", self.scales, "in (0, 1]")
        require(self.color_jitter >= 0, "input.color_jitter", self.color_jitter, "0 or more")
        require(self.rand_augment_layers >= 0, "input.rand_augment_layers", self.rand_augment_layers, "0 or more")
        magnitude = self.rand_augment_magnitude
        require(0 <= magnitude <= 30, "input.rand_augment_magnitude", magnitude, "between 0 and 30")


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and learning-rate schedule."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    """sgd (with Nesterov momentum) or adamw."""
    learning_rate: float = 0.001
    """Peak learning rate, for steps of `lr_base_size` clips."""
    lr_base_size: int = 64
    """The rate scales with the clips per step over these (adamw: its square root); 0 is off."""
    momentum: float = 0.9
    """Momentum of sgd; the first beta of adamw."""
    beta2: float = 0.999
    """Second beta of adamw: how long it remembers the size of gradients."""
    weight_decay: float = 0.05
    """Decay of weights; biases and norm parameters are never decayed."""
    new_layer_lr_mult: float = 5.0
    """Factor on the learning rate of layers that did not start from trained weights."""
    schedule: Literal["cosine", "step"] = "cosine"
    """cosine (to zero), or step (by `step_factor` at each of `step_epochs`)."""
    step_epochs: tuple[float, ...] = ()
    """Epochs at which the step schedule drops."""
    step_factor: float = 0.1
    """What the step schedule multiplies by."""
    warmup_epochs: float = 1.0
    """Epochs of linear warm-up from a hundredth of the rate."""
    clip_grad_norm: float = 20.0
    """Largest norm of the gradient; 0 is off."""

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optim.learning_rate", self.learning_rate, "above 0")
        require(self.lr_base_size >= 0, "optim.lr_base_size", self.lr_base_size, "0 or more")
        require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "in [0, 1)")
        require(0 <= self.beta2 < 1, "optim.beta2", self.beta2, "in [0, 1)")
        require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        require(self.new_layer_lr_mult > 0, "optim.new_layer_lr_mult", self.new_layer_lr_mult, "above 0")
        require(self.warmup_epochs >= 0, "optim.warmup_epochs", self.warmup_epochs, "0 or more")
        require(self.clip_grad_norm >= 0, "optim.clip_grad_norm", self.clip_grad_norm, "0 or more")
        if self.schedule == "step":
            require(bool(self.step_epochs), "optim.step_epochs", self.step_epochs, "given with schedule: step")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, in what batches and precision, and what of the network learns."""

    epochs: int = 30
    """Passes over the training clips, or as many as `min_steps_per_epoch` needs."""
    min_steps_per_epoch: int = 64
    """Steps of 8 clips or more per epoch, at least; a small set is passed over several times."""
    batch_size: int = 8
    """Clips per forward pass and process."""
    grad_accum_steps: int = 1
    """Forward passes per step, whose gradients are added before the weights move."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """float32, or automatic mixed precision in bf16 or fp16."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, which is evaluated and saved; 0 is off."""
    batch_norm: Literal["train", "sync", "partial", "frozen"] = "partial"
    """train, sync (across processes), partial (first and new norms learn), frozen (new ones)."""
    frozen_stages: int = 0
    """First stages of the CNN, 0 to 4, that keep their starting weights; memories learn."""
    grad_checkpointing: bool = False
    """Recompute the CNN's activations in the backward pass: less memory, more time."""
    compile: bool = False
    """PyTorch's compiler: faster steps after a minute or two; needs a C++ compiler."""
    state_carry_prob: float = 0.0
    """Share of the clips that start from the memory another left; needs a causal model."""
    tbptt_frames: int = 0
    """Most frames that a gradient goes back through; 0 is the whole clip. Needs a causal model."""
    seed: int = 0
    """Fixes weights, order, sampling and augmentation."""
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one."""
    keep: Literal["best", "last"] = "best"
    """Weights that are kept: of the best epoch on the validation clips, or of the last epoch."""
    calibrate: bool = True
    """Scale the kept logits so that validation probabilities are right, where that helps."""
    evaluate_every: int = 1
    """Epochs between validations; the last epoch is always validated."""
    checkpoint_every: int = 0
    """Steps between checkpoints inside an epoch, besides the one at its end; 0 is off."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept; where the last one is damaged, the run resumes from the one before."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the extra `tb`)."""

    def __post_init__(self) -> None:
        for name in ("epochs", "min_steps_per_epoch", "batch_size", "grad_accum_steps", "evaluate_every"):
            require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "at least 1")
        require(0 <= self.seed < MAX_INTEGER, "training.seed", self.seed, "between 0 and 2^63 - 1")
        require(0 <= self.label_smoothing < 1, "training.label_smoothing", self.label_smoothing, "in [0, 1)")
        require(0 <= self.ema_decay < 1, "training.ema_decay", self.ema_decay, "in [0, 1)")
        require(0 <= self.frozen_stages <= 4, "training.frozen_stages", self.frozen_stages, "between 0 and 4")
        require(0 <= self.state_carry_prob <= 1, "training.state_carry_prob", self.state_carry_prob, "in [0, 1]")
        require(self.tbptt_frames >= 0, "training.tbptt_frames", self.tbptt_frames, "0 or more")
        if self.compile and self.grad_checkpointing:
            raise ConfigError(
                "training.compile and training.grad_checkpointing cannot go together, as the compiler decides by "
                "itself what the backward pass computes again; set one of them to false"
            )
        require(self.checkpoint_every >= 0, "training.checkpoint_every", self.checkpoint_every, "0 or more")
        require(self.keep_checkpoints >= 1, "training.keep_checkpoints", self.keep_checkpoints, "1 or more")


@dataclass(frozen=True)
class EvaluationConfig:
    """Views of a video and how they are averaged."""

    num_clips: int = 1
    """Clips per video; 2 are TSN's centre and start of each segment."""
    num_crops: Literal[1, 3] = 1
    """1 is the centre; 3 are left, centre and right (top and bottom for tall videos)."""
    average: Literal["logits", "probabilities"] = "logits"
    """Over the views: logits are averaged before the softmax, probabilities after it."""
    batch_size: int = 8
    """Views per forward pass; it does not change the result."""

    def __post_init__(self) -> None:
        require(1 <= self.num_clips <= 1000, "evaluation.num_clips", self.num_clips, "between 1 and 1000")
        require(self.batch_size >= 1, "evaluation.batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True)
class RunConfig:
    """One experiment, whole."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    input: InputConfig = field(default_factory=InputConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    timelines: TimelineConfig = field(default_factory=TimelineConfig)

    def __post_init__(self) -> None:
        if self.data.kind == "timelines":
            self._check_timelines()
            return
        if self.timelines != TimelineConfig():
            raise ConfigError("settings of timelines are set, but data.kind is clips; set data.kind=timelines")
        if self.model.multi_label:
            raise ConfigError(
                "model.multi_label is for events that may overlap; set data.kind=timelines or leave it out"
            )
        if self.training.tbptt_frames and self.model.readout_frames:
            raise ConfigError(
                f"model.readout_frames is {self.model.readout_frames} and training.tbptt_frames "
                f"{self.training.tbptt_frames}: each chunk learns the label, which only the last frames show; set one "
                "of them to null or 0"
            )

    def require_clips(self, what: str) -> None:
        """Refuses long videos.

        Args:
            what: Is for clips alone.

        Raises:
            ConfigError: `data.kind` is timelines.
        """
        if self.data.kind == "timelines":
            raise ConfigError(f"{what} is for clips, but data.kind is timelines")

    def _check_timelines(self) -> None:
        """Refuses what has no meaning for streams."""
        chunk, stretch = self.training.tbptt_frames, self.timelines.stretch_frames
        if chunk and stretch % chunk:
            raise ConfigError(
                f"timelines.stretch_frames is {stretch}, which is no multiple of training.tbptt_frames ({chunk}); "
                f"set it to {chunk * max(1, stretch // chunk)}"
            )
        if self.input.sampling != "timed":
            raise ConfigError(
                f"input.sampling is {self.input.sampling}, but a stream has a rate and no end; set input.sampling=timed"
            )
        if self.training.grad_accum_steps > 1:
            raise ConfigError(
                f"training.grad_accum_steps is {self.training.grad_accum_steps}, but the streams of a step go on in "
                "the next one, so they are one batch; set it to 1, and training.batch_size or the processes instead"
            )
        if self.data.clips_per_class:
            raise ConfigError("data.clips_per_class draws clips, but data.kind is timelines; set it to 0")
        least = 1 / self.input.fps
        require(
            self.timelines.point_seconds >= least,
            "timelines.point_seconds",
            self.timelines.point_seconds,
            f"at least a frame of input.fps, {least:.3g}",
        )
