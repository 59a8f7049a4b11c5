from pathlib import Path

import pytest
import torch

from lsn.config import DataConfig, InputConfig, ModelConfig, OptimConfig, RunConfig, TrainingConfig
from lsn.video import write_video

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "grey": (110, 110, 110)}


def write_clips(folder: Path, split: str, num_clips: int) -> Path:
    """Noisy clips of one colour each, in turn, and their manifest."""
    generator = torch.Generator().manual_seed(len(split))
    rows = ["path,label"]
    for number in range(num_clips):
        label = list(COLOURS)[number % len(COLOURS)]
        frames = torch.tensor(COLOURS[label]) + torch.randint(-20, 21, (6, 40, 48, 3), generator=generator)
        write_video(folder / split / f"{number}.mp4", frames.clamp(0, 255).byte().numpy(), fps=10)
        rows.append(f"{split}/{number}.mp4,{label}")
    manifest = folder / f"{split}.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


@pytest.fixture(scope="session")
def colours(tmp_path_factory) -> Path:
    """A folder with train.csv of 7 clips and val.csv of 5, in three classes that differ in colour."""
    folder = tmp_path_factory.mktemp("colours")
    (folder / "train").mkdir()
    (folder / "val").mkdir()
    write_clips(folder, "train", 7)
    write_clips(folder, "val", 5)
    return folder


@pytest.fixture
def config(colours) -> RunConfig:
    """A run of a second or two: 2 epochs of 4 steps."""
    return RunConfig(
        model=ModelConfig(name="lsn_test_resnet", num_frames=2, pretrained=False, memory_stages=(3,), dropout=0.5),
        data=DataConfig(train=str(colours / "train.csv"), val=str(colours / "val.csv"), num_workers=0),
        input=InputConfig(size=32, short_side=32, color_jitter=0.1),
        optim=OptimConfig(
            optimizer="sgd",
            learning_rate=0.02,
            lr_base_size=0,
            weight_decay=5e-4,
            new_layer_lr_mult=1.0,
            warmup_epochs=0.5,
        ),
        training=TrainingConfig(
            epochs=2, min_steps_per_epoch=1, batch_size=2, batch_norm="train", device="cpu", seed=3
        ),
    )
