"""Builds all parts of a run: from its configuration, or from its checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from lsn.config import OptimConfig, RunConfig
from lsn.data import ClipDataset, Manifest, StepSampler, load_splits, load_test_set
from lsn.distributed import World
from lsn.errors import ConfigError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.hardware import tune_allocator
from lsn.models import Recognizer
from lsn.models.compile import compile_model
from lsn.training.batch_norm import freeze_batch_norm, synchronize_batch_norm
from lsn.training.carry import CarriedState, StatefulModel
from lsn.training.checkpoint import load_checkpoint
from lsn.training.freeze import freeze_stages
from lsn.training.health import AnswerSpread, TrainingWatch, loss_of_guessing
from lsn.training.optim import Schedule, create_optimizer, parameter_groups, scaled_learning_rate
from lsn.training.position import Position
from lsn.training.rates import measure_frame_rates
from lsn.training.run import Run
from lsn.training.start import start_model
from lsn.training.step import StepContext
from lsn.training.tracking import require_tensorboard
from lsn.training.views import TrainingViews
from lsn.video import ClipSampler, clip_sampler
from lsn.video.transforms import TrainTransform


def build_run(config: RunConfig, out: Path, world: World, *, resume: bool) -> Run:
    """Reads the manifests, opens some clips, and builds the parts of a run or restores them; nothing is written.

    Raises:
        LSNError: the clips, the network or the checkpoint do not allow the run.
    """
    settings = config.training
    if world.device.type == "cpu":
        tune_allocator(spare_memory=settings.grad_checkpointing)
    train_set, val_set = load_splits(config.data, settings.seed)
    saved = load_checkpoint(out, config=config, num_processes=world.size, train_set=train_set) if resume else None
    model = _build_model(config, train_set.labels, saved)
    frozen_norms = ready_to_train(model, config, world)
    clips = _clips_of_an_epoch(train_set, config, world)
    sampler = _step_sampler(len(clips), config, world)
    schedule = _schedule(config, len(sampler))
    position = Position() if saved is None else saved["position"]
    watch = TrainingWatch(
        num_classes=len(train_set.labels),
        chance=loss_of_guessing(train_set, settings.label_smoothing),
        steps_per_epoch=len(sampler),
        warmup_steps=schedule.warmup_steps,
        start=position.step,
    )
    run = Run(
        config=config,
        out=out,
        world=world,
        train_set=train_set,
        val_set=val_set,
        test_set=load_test_set(config.data, train_set, val_set),
        dataset=clip_dataset(config, clips, model),
        sampler=sampler,
        protocol=EvaluationProtocol.of(model, config.input, config.evaluation),
        model=model,
        frozen_norms=frozen_norms,
        context=step_context(model, config, world, spread=watch.spread),
        learning_rate=peak_learning_rate(config, sampler.clips_per_step),
        schedule=schedule,
        watch=watch,
        ema=ModelEmaV3(model, settings.ema_decay, use_warmup=True) if settings.ema_decay else None,
        position=position,
    )
    if saved is not None:
        run.restore(saved["states"])
    with world.errors_on_all_ranks():
        if world.is_main:
            if settings.tensorboard:
                require_tensorboard()
            run.frame_rates = measure_frame_rates(train_set, _clip_sampler(config), reader=config.data.reader)
    return run


def _build_model(config: RunConfig, labels: Sequence[str], saved: dict[str, Any] | None) -> Recognizer:
    if saved is None:
        return start_model(config.model, labels, seed=config.training.seed)
    fresh = replace(config.model, pretrained=False, backbone_weights=None, initial_weights=None)
    model = start_model(fresh, labels, seed=config.training.seed)  # its weights come from the checkpoint
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
    return ClipDataset(
        train_set,
        TrainingViews(_clip_sampler(config), transform),
        reader=config.data.reader,
        on_unreadable=config.data.on_unreadable,
        seed=config.training.seed,
    )


def _clip_sampler(config: RunConfig) -> ClipSampler:
    return clip_sampler(
        config.input.sampling,
        num_frames=config.model.num_frames,
        frame_stride=config.input.frame_stride,
        fps=config.input.fps,
        fps_jitter=config.input.fps_jitter,
        min_span=config.input.min_span,
    )


def _clips_of_an_epoch(train_set: Manifest, config: RunConfig, world: World) -> Manifest:
    """The training clips, several times if once would be fewer steps than an epoch must have."""
    settings = config.training
    needed = settings.min_steps_per_epoch * settings.batch_size * settings.grad_accum_steps * world.size
    return replace(train_set, clips=train_set.clips * max(1, math.ceil(needed / len(train_set))))


def _step_sampler(num_clips: int, config: RunConfig, world: World) -> StepSampler:
    return StepSampler(
        num_clips,
        batch_size=config.training.batch_size,
        grad_accum_steps=config.training.grad_accum_steps,
        seed=config.training.seed,
        rank=world.rank,
        num_processes=world.size,
    )


def step_context(
    model: Recognizer, config: RunConfig, world: World, *, spread: AnswerSpread | None = None
) -> StepContext:
    """What all steps of a run have in common, for a network that is ready to train."""
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
