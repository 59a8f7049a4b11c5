"""What a run says of itself when it starts."""

from __future__ import annotations

from lsn.training.run import Run


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
    clips_per_step, optim = run.task.clips_per_step, run.config.optim
    rate = f"{optim.optimizer} with a learning rate of {run.learning_rate:.3g}"
    if optim.lr_base_size not in (0, clips_per_step):
        rate += f" ({optim.learning_rate:g} for steps of {optim.lr_base_size} clips)"
    processes = f"{run.world.size} processes" if run.world.size > 1 else "1 process"
    return [
        f"{network.name}: {num_parameters:,} parameters, of which {num_learning:,} learn and {num_new:,} are new; "
        f"starts from {start}",
        *run.task.describe(),
        f"{rate}; on {run.world.device} in {settings.precision}, {processes}; everything goes to {run.out}",
    ]
