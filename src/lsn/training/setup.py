"""Builds all parts of a run: from its configuration, or from its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from lsn.config import ModelConfig, OptimConfig, RunConfig
from lsn.distributed import World
from lsn.errors import ConfigError
from lsn.hardware import tune_allocator
from lsn.hub import HUB_PREFIX, pinned
from lsn.models import Recognizer
from lsn.models.compile import compile_model
from lsn.training.batch_norm import freeze_batch_norm, synchronize_batch_norm
from lsn.training.carry import CarriedState, StatefulModel
from lsn.training.checkpoints.file import load_checkpoint, require_same_clips
from lsn.training.clips.task import ClipTask
from lsn.training.freeze import freeze_stages
from lsn.training.health import AnswerSpread, TrainingWatch
from lsn.training.optim import Schedule, create_optimizer, parameter_groups, scaled_learning_rate
from lsn.training.position import Position
from lsn.training.run import Run
from lsn.training.start import start_model
from lsn.training.step import StepContext
from lsn.training.task import Task
from lsn.training.timelines.task import TimelineTask
from lsn.training.tracking import require_tensorboard


def build_run(config: RunConfig, out: Path, world: World, *, resume: bool) -> Run:
    """Reads the manifests, opens some videos, and builds the parts of a run or restores them; nothing is written.

    Raises:
        LSNError: the videos, the network or the checkpoint do not allow the run.
    """
    settings = config.training
    if world.device.type == "cpu":
        tune_allocator(spare_memory=settings.grad_checkpointing)
    saved = load_checkpoint(out, config=config, world=world) if resume else None
    num_processes = world.size if saved is None else saved["num_processes"]
    _require_no_streams(config, num_processes, world)
    task = _task(config, world, num_processes)
    if saved is not None:
        require_same_clips(out, saved, task.fingerprint)
    model = _build_model(config, task, saved)
    config = replace(config, model=_pinned(config.model))
    frozen_norms = ready_to_train(model, config, world)
    task.prepare(model)
    schedule = _schedule(config, task.steps_per_epoch)
    position = Position() if saved is None else saved["position"]
    watch = TrainingWatch(
        num_classes=len(task.labels),
        chance=task.guessing_loss,
        unit=task.unit,
        steps_per_epoch=task.steps_per_epoch,
        warmup_steps=schedule.warmup_steps,
        start=position.step,
    )
    run = Run(
        config=config,
        out=out,
        world=world,
        task=task,
        model=model,
        frozen_norms=frozen_norms,
        context=step_context(model, config, world, spread=watch.spread),
        learning_rate=peak_learning_rate(config, task.clips_per_step),
        schedule=schedule,
        watch=watch,
        ema=ModelEmaV3(model, settings.ema_decay, use_warmup=True) if settings.ema_decay else None,
        position=position,
        num_processes=num_processes,
    )
    if saved is not None:
        run.restore(saved["states"])
    with world.errors_on_all_ranks():
        if world.is_main and settings.tensorboard:
            require_tensorboard()
    return run


def _pinned(network: ModelConfig) -> ModelConfig:
    """With the commits of what was downloaded, so that the recipe starts from the same for ever."""
    backbone, initial = network.backbone_weights, network.initial_weights
    backbone = pinned(backbone) if backbone is not None and backbone.startswith(HUB_PREFIX) else backbone
    return replace(network, backbone_weights=backbone, initial_weights=None if initial is None else pinned(initial))


def _require_no_streams(config: RunConfig, num_processes: int, world: World) -> None:
    """Refuses another number of processes where each has states of its own to continue.

    Raises:
        ConfigError: it has.
    """
    has_states = config.data.kind == "timelines" or config.training.state_carry_prob > 0
    if has_states and num_processes != world.size:
        raise ConfigError(
            f"the run began with {num_processes} processes, each of which continues streams of its own, and now there "
            f"{'is' if world.size == 1 else 'are'} {world.size}; resume it with {num_processes}"
        )


def _task(config: RunConfig, world: World, num_processes: int) -> Task:
    if config.data.kind == "timelines":
        return TimelineTask(config, world)
    return ClipTask(config, world, num_processes=num_processes)


def _build_model(config: RunConfig, task: Task, saved: dict[str, Any] | None) -> Recognizer:
    network = config.model
    if config.data.kind == "timelines" and network.readout_frames is None:
        network = replace(network, readout_frames=1)  # each frame has an answer of its own
    if saved is None:
        return start_model(network, task.labels, seed=config.training.seed)
    fresh = replace(network, pretrained=False, backbone_weights=None, initial_weights=None)
    model = start_model(fresh, task.labels, seed=config.training.seed)  # its weights come from the checkpoint
    model.mark_trained(saved["trained_names"])
    return model


def ready_to_train(model: Recognizer, config: RunConfig, world: World) -> list[nn.Module]:
    """Brings a network to its device and stops what shall not learn; returns the batch norms that stay as they are."""
    settings = config.training
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
    return frozen_norms


def _require_causal(model: Recognizer, config: RunConfig) -> None:
    settings = {
        "data.kind": config.data.kind == "timelines",
        "training.state_carry_prob": config.training.state_carry_prob > 0,
        "training.tbptt_frames": config.training.tbptt_frames > 0,
    }
    for key, is_set in settings.items():
        if is_set and not model.is_causal:
            section, _, name = key.partition(".")
            raise ConfigError(
                f"{key} is {getattr(getattr(config, section), name)}, but no state leads from one part of a video to "
                f"the next in {model.name}, whose bidirectional shift looks one frame ahead; set model.shift=causal"
            )


def step_context(
    model: Recognizer, config: RunConfig, world: World, *, spread: AnswerSpread | None = None
) -> StepContext:
    """What all steps of a run have in common, for a network that is ready to train."""
    settings = config.training
    has_streams = config.data.kind == "timelines"
    learns_from_states = has_streams or settings.state_carry_prob > 0 or settings.tbptt_frames > 0
    if model.multi_label:
        spread = None  # it compares answers that sum to 1
    return StepContext(
        model=world.wrap(StatefulModel(model, every_frame=has_streams) if learns_from_states else model),
        optimizer=_optimizer(model, config.optim),
        scaler=torch.amp.GradScaler(world.device.type, enabled=settings.precision == "fp16"),
        world=world,
        precision=settings.precision,
        label_smoothing=settings.label_smoothing,
        clip_grad_norm=config.optim.clip_grad_norm,
        tbptt_frames=settings.tbptt_frames,
        carried=CarriedState(settings.state_carry_prob, world) if has_streams or settings.state_carry_prob else None,
        spread=spread,
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


def peak_learning_rate(config: RunConfig, clips_per_step: int) -> float:
    """The learning rate of a run whose steps have so many clips."""
    return scaled_learning_rate(
        config.optim.learning_rate,
        optimizer=config.optim.optimizer,
        clips_per_step=clips_per_step,
        base_size=config.optim.lr_base_size,
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
