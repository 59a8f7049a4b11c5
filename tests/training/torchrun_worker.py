"""What test_training_distributed starts under torchrun: some steps, then every recipe of a folder."""

import shutil
import sys
from pathlib import Path

import torch

from lsn.config import load_config
from lsn.distributed import World, join_world
from lsn.errors import LSNError
from lsn.models import create_model
from lsn.training import train
from lsn.training.batch_norm import enter_training, synchronize_batch_norm
from lsn.training.step import ClipPass, StepContext, train_step


def take_steps(world: World, *, shares: list[tuple[int, ...]]) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Three steps in float64, where rounding cannot hide a wrong gradient.

    `shares[i][r]` is the number of clips that process r reads for forward pass i. Returns weights and losses.
    """
    torch.manual_seed(0)
    model = create_model("lsn_test_resnet", num_classes=3, num_frames=2, memory_stages=(3,), dropout=0.0).double()
    torch.nn.init.normal_(model.memory["3"].expand[1].weight)
    clips, labels = torch.randn(7, 2, 3, 32, 32).double(), torch.tensor([0, 1, 2, 0, 1, 2, 1])
    if world.size > 1:
        synchronize_batch_norm(model, world.device)
    enter_training(model, [])
    sizes = [size for of_processes in shares for size in of_processes]
    passes = list(zip(clips.split(sizes), labels.split(sizes), strict=True))[world.rank :: world.size]
    context = StepContext(
        world.wrap(model),
        torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
        torch.amp.GradScaler("cpu", enabled=False),
        world,
        label_smoothing=0.1,
        clip_grad_norm=5.0,
    )
    losses = [
        train_step(context, [ClipPass(*each) for each in passes], where="a step", num_items=7).loss for _ in range(3)
    ]
    return model.state_dict(), losses


class Copier:
    """Copies a run's folder as it is after its third step, to be resumed: a step is saved after `on_step`."""

    on_start = on_evaluation = on_evaluated = lambda self, *arguments: None

    def __init__(self, out: Path) -> None:
        self.out = out

    def on_step(self, report):
        if report.step == 4:
            moving = shutil.ignore_patterns(".*", "checkpoint.1.pt")  # while a checkpoint is written
            shutil.copytree(self.out, f"{self.out}_parts", ignore=moving)


def main(folder: Path) -> None:
    with join_world("cpu") as world:
        torch.save(take_steps(world, shares=[(2, 2), (3, 0)]), folder / f"steps{world.rank}.pt")
    for recipe in sorted(folder.glob("*.yaml")):
        try:
            out = recipe.with_suffix("")
            result = train(load_config(recipe), out, progress=Copier(out) if out.name in ("carried", "fewer") else None)
            if out.name == "carried":
                train(load_config(recipe), f"{out}_parts", resume=True)
            line = f"RESULT {recipe.stem} {result.score} {result.epoch}"
        except LSNError as error:
            line = f"RESULT {recipe.stem} {error}"
        sys.stdout.write(f"{line}\n")  # in one piece, since both processes write to the same pipe


if __name__ == "__main__":
    main(Path(sys.argv[1]))
