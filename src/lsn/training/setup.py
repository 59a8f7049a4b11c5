"""All parts of a run, made from its configuration or restored from its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from lsn.config import OptimConfig, RunConfig, to_yaml
from lsn.data import ClipDataset, Manifest, StepSampler, load_splits
from lsn.distributed import World
from lsn.errors import ConfigError, LSNError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.files import write_text
from lsn.hardware import tune_allocator
from lsn.models import Recognizer
from lsn.models.compile import compile_model
from lsn.models.weights import FrameRates
from lsn.training.batch_norm import freeze_batch_norm, synchronize_batch_norm
from lsn.training.carry import CarriedState, StatefulModel
from lsn.training.checkpoint import CHECKPOINT_NAME, Position, damaged, load_checkpoint, save_checkpoint
from lsn.training.folder import RECIPE_NAME, remove_start
from lsn.training.freeze import freeze_stages
from lsn.training.optim import Schedule, create_optimizer, parameter_groups, restore_optimizer
from lsn.training.rates import measure_frame_rates
from lsn.training.start import start_model
from lsn.training.step import StepContext
from lsn.training.tracking import Tracker, require_tensorboard
from lsn.training.views import TrainingViews
from lsn.video.transforms import TrainTransform


@dataclass
class Run:
    """The parts of a run; what they do with each other is in `loop`."""

    config: RunConfig
    out: Path
    world: World
    train_set: Manifest
    val_set: Manifest
    dataset: ClipDataset
    sampler: StepSampler
    protocol: EvaluationProtocol
    model: Recognizer
    frozen_norms: list[nn.Module]
    context: StepContext
    """What moves the weights, the model as it is trained among it."""
    schedule: Schedule
    ema: ModelEmaV3 | None
    position: Position
    tracker: Tracker | None = None
    """In the main process only."""
    frame_rates: FrameRates | None = None
    """Of the training clips, for the weights that are saved; in the main process only."""

    @property
    def evaluated_model(self) -> Recognizer:
        """The network that is validated and saved: the moving average if there is one."""
        return self.model if self.ema is None else self.ema.module

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.training.epochs * len(self.sampler)

    def save(self) -> None:
        """Writes the checkpoint, in the main process; all processes must call it.

        Raises:
            TrainingError: in all processes: it cannot be written.
        """
        states = {name: part.state_dict() for name, part in self._parts().items()}
        error = None
        if self.world.is_main:
            new_names = self.model.new_parameter_names()
            try:
                save_checkpoint(
                    self.out,
                    config=self.config,
                    num_processes=self.world.size,
                    train_set=self.train_set,
                    position=self.position,
                    trained_names=[name for name, _ in self.model.named_parameters() if name not in new_names],
                    states=states,
                )
            except LSNError as caught:
                error = caught
        self.world.raise_on_all_ranks(error)

    def restore(self, states: dict[str, Any]) -> None:
        """Takes over the states of a checkpoint.

        Raises:
            WeightsError: they are not those of this run's parts.
        """
        try:
            for name, part in self._parts().items():
                if isinstance(part, torch.optim.Optimizer):
                    restore_optimizer(part, states[name])
                else:
                    part.load_state_dict(states[name])
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise damaged(self.out / CHECKPOINT_NAME, error) from error

    def _parts(self) -> dict[str, Any]:
        context = self.context
        parts = {"model": self.model, "optimizer": context.optimizer, "scaler": context.scaler}
        if self.ema is not None:
            parts["ema"] = self.ema.module
        return parts if context.carried is None else parts | {"carried": context.carried}


def prepare(config: RunConfig, out: Path, world: World, *, resume: bool) -> Run:
    """Reads the clips, builds or restores the parts, and writes the first files of the run's folder.

    Until all the rest is done nothing is written.

    Raises:
        LSNError: the clips, the network or the checkpoint do not allow the run.
    """
    settings = config.training
    if world.device.type == "cpu":
        tune_allocator(spare_memory=settings.grad_checkpointing)

    train_set, val_set = load_splits(config.data, settings.seed)
    saved = load_checkpoint(out, config=config, num_processes=world.size, train_set=train_set) if resume else None

    model = _build_model(config, train_set.labels, saved)
    _require_causal(model, config)
    model.set_grad_checkpointing(settings.grad_checkpointing)
    if settings.compile:
        compile_model(model)
    model.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    frozen_norms = freeze_stages(model, settings.frozen_stages)
    if settings.batch_norm in ("partial", "frozen"):
        frozen_norms += freeze_batch_norm(model, settings.batch_norm, new_names=model.new_parameter_names())
    elif settings.batch_norm == "sync" and world.size > 1:
        synchronize_batch_norm(model, world.device)

    sampler = StepSampler(
        len(train_set),
        batch_size=settings.batch_size,
        grad_accum_steps=settings.grad_accum_steps,
        seed=settings.seed,
        rank=world.rank,
        num_processes=world.size,
    )
    run = Run(
        config=config,
        out=out,
        world=world,
        train_set=train_set,
        val_set=val_set,
        dataset=clip_dataset(config, train_set, model),
        sampler=sampler,
        protocol=EvaluationProtocol.of(model, config.input, config.evaluation),
        model=model,
        frozen_norms=frozen_norms,
        context=_context(model, config, world),
        schedule=_schedule(config, len(sampler)),
        ema=ModelEmaV3(model, settings.ema_decay, use_warmup=True) if settings.ema_decay else None,
        position=Position() if saved is None else saved["position"],
    )
    if saved is not None:
        run.restore(saved["states"])
    _open_folder(run, resumed=saved is not None)
    return run


def _build_model(config: RunConfig, labels: Sequence[str], saved: dict[str, Any] | None) -> Recognizer:
    if saved is None:
        return start_model(config.model, labels, seed=config.training.seed)
    fresh = replace(config.model, pretrained=False, backbone_weights=None, initial_weights=None)
    model = start_model(fresh, labels, seed=config.training.seed)  # its weights come from the checkpoint
    model.mark_trained(saved["trained_names"])
    return model


def _require_causal(model: Recognizer, config: RunConfig) -> None:
    for key in ("state_carry_prob", "tbptt_frames"):
        if (value := getattr(config.training, key)) and not model.is_causal:
            raise ConfigError(
                f"training.{key} is {value}, but no state leads from one part of a video to the next in {model.name}, "
                "whose bidirectional shift looks one frame ahead; set model.shift=causal"
            )


def clip_dataset(config: RunConfig, train_set: Manifest, model: Recognizer) -> ClipDataset:
    """The training clips as the run reads them."""
    transform = TrainTransform(
        size=config.input.size,
        scales=config.input.scales,
        labels=train_set.labels,
        color_jitter=config.input.color_jitter,
        rand_augment_layers=config.input.rand_augment_layers,
        rand_augment_magnitude=config.input.rand_augment_magnitude,
        fill=[round(255 * channel) for channel in model.mean],
        horizontal_flip=config.input.horizontal_flip,
    )
    views = TrainingViews(
        num_frames=config.model.num_frames,
        sampling=config.input.sampling,
        frame_stride=config.input.frame_stride,
        transform=transform,
        fps=config.input.fps,
        fps_jitter=config.input.fps_jitter,
    )
    return ClipDataset(
        train_set,
        views,
        reader=config.data.reader,
        on_unreadable=config.data.on_unreadable,
        seed=config.training.seed,
    )


def _context(model: Recognizer, config: RunConfig, world: World) -> StepContext:
    settings = config.training
    learns_from_states = settings.state_carry_prob > 0 or settings.tbptt_frames > 0
    return StepContext(
        model=world.wrap(StatefulModel(model) if learns_from_states else model),
        optimizer=_optimizer(model, config.optim),
        scaler=torch.amp.GradScaler(world.device.type, enabled=settings.precision == "fp16"),
        world=world,
        precision=settings.precision,
        label_smoothing=settings.label_smoothing,
        clip_grad_norm=config.optim.clip_grad_norm,
        tbptt_frames=settings.tbptt_frames,
        carried=CarriedState(settings.state_carry_prob, world) if settings.state_carry_prob else None,
    )


def _optimizer(model: Recognizer, config: OptimConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(
        model,
        new_names=model.new_parameter_names(),
        new_layer_lr_mult=config.new_layer_lr_mult,
        weight_decay=config.weight_decay,
    )
    return create_optimizer(
        groups,
        name=config.optimizer,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        beta2=config.beta2,
    )


def _schedule(config: RunConfig, steps_per_epoch: int) -> Schedule:
    return Schedule(
        config.optim.schedule,
        epochs=config.training.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=config.optim.warmup_epochs,
        step_epochs=config.optim.step_epochs,
        step_factor=config.optim.step_factor,
    )


def _open_folder(run: Run, *, resumed: bool) -> None:
    """Opens some clips, then writes the first files, so that a run can be resumed from its start on."""
    error: LSNError | OSError | None = None
    try:
        if run.world.is_main:
            if run.config.training.tensorboard:
                require_tensorboard()
            run.frame_rates = measure_frame_rates(run.train_set, run.config)
    except (LSNError, OSError) as caught:
        error = caught
    run.world.raise_on_all_ranks(error)
    try:
        try:
            if not resumed:
                run.save()  # before the other files, so that whatever is in the folder can be resumed
            if run.world.is_main:
                write_text(run.out / RECIPE_NAME, to_yaml(run.config))
                run.tracker = Tracker(
                    run.out,
                    step=run.position.step,
                    validated=run.position.step_in_epoch < len(run.sampler),
                    tensorboard=run.config.training.tensorboard,
                )
        except (LSNError, OSError) as caught:
            error = caught
        run.world.raise_on_all_ranks(error)
    except BaseException:
        if not resumed and run.world.is_main:
            remove_start(run.out)
        raise


def describe(run: Run, *, resumed: bool) -> list[str]:
    """Lines that say what is trained, on what, from where."""
    settings, network = run.config.training, run.config.model
    if resumed:
        start = f"its checkpoint after {run.position.step} steps"
    elif network.initial_weights or network.backbone_weights:
        start = str(network.initial_weights or network.backbone_weights)
    else:
        start = "timm's ImageNet weights" if network.pretrained else "random weights"
    new_names = run.model.new_parameter_names()
    num_parameters = sum(p.numel() for p in run.model.parameters())
    num_learning = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    num_new = sum(p.numel() for name, p in run.model.named_parameters() if name in new_names)
    clips_a_step = settings.batch_size * settings.grad_accum_steps * run.world.size
    processes = f"{run.world.size} processes" if run.world.size > 1 else "1 process"
    return [
        f"{network.name}: {num_parameters:,} parameters, of which {num_learning:,} learn and {num_new:,} are new; "
        f"starts from {start}",
        f"{len(run.train_set.labels)} classes; {len(run.train_set)} clips to train on from {run.train_set.source}, "
        f"{len(run.val_set)} to validate on from {run.val_set.source}",
        f"{settings.epochs} epochs of {len(run.sampler)} steps of up to {clips_a_step} clips, "
        f"on {run.world.device} in {settings.precision}, {processes}; everything goes to {run.out}",
    ]
