"""What tests of training on timelines share: long videos of colours, and a run of a few seconds on them."""

from pathlib import Path

import numpy as np

from lsn.config import DataConfig, InputConfig, ModelConfig, OptimConfig, RunConfig, TimelineConfig, TrainingConfig
from lsn.video import write_video

GREY, COLOURS = (110, 110, 110), {"red": (200, 30, 30), "blue": (30, 30, 200)}
FPS, NUM_FRAMES = 10, 80
EVENTS = {
    "0": [("red", 1.0, 2.5), ("blue", 4.0, 6.0)],
    "1": [("blue", 0.5, 2.0), ("red", 3.0, 4.0), ("blue", 6.0, 7.5)],
    "2": [("red", 2.0, 4.0)],
    "3": [],
}


def write_timelines_of_colours(folder: Path, split: str) -> Path:
    """Grey videos of eight seconds in which events are coloured, and their table."""
    rng = np.random.default_rng(len(split))
    rows = ["path,label,start_seconds,end_seconds"]
    for name, events in EVENTS.items():
        frames = np.full((NUM_FRAMES, 40, 48, 3), GREY, dtype=np.int64)
        for label, start, end in events:
            frames[round(start * FPS) : round(end * FPS)] = COLOURS[label]
            rows.append(f"{split}/{name}.mp4,{label},{start},{end}")
        if not events:
            rows.append(f"{split}/{name}.mp4,,,")
        frames += rng.integers(-20, 21, frames.shape)
        write_video(folder / split / f"{name}.mp4", frames.clip(0, 255).astype(np.uint8), fps=FPS)
    table = folder / f"{split}.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def timeline_config(folder: Path) -> RunConfig:
    """A run of a few seconds: 2 epochs of 6 steps, in 2 batches of 2 streams through 24 frames in 3 chunks."""
    return RunConfig(
        model=ModelConfig(name="lsn_test_resnet", pretrained=False, dropout=0.2),
        data=DataConfig(kind="timelines", train=str(folder / "train.csv"), val=str(folder / "val.csv"), num_workers=0),
        input=InputConfig(size=32, short_side=32, sampling="timed", fps=3.0, color_jitter=0.1),
        optim=OptimConfig(learning_rate=0.01, lr_base_size=0, new_layer_lr_mult=1.0, warmup_epochs=0.0),
        training=TrainingConfig(
            epochs=2,
            min_steps_per_epoch=1,
            batch_size=2,
            tbptt_frames=8,
            state_carry_prob=0.5,
            batch_norm="train",
            device="cpu",
            seed=3,
        ),
        timelines=TimelineConfig(stretch_frames=24, splice_prob=0.5),
    )
