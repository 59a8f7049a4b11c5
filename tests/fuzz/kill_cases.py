"""Commands that are stopped in the middle, what they work on, and what they leave behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

LABELS = ("left", "right", "up")
FPS, NUM_ANSWERS = 8, 80
NUM_VIDEOS, NUM_FRAMES = 12, 40
STEPS_AN_EPOCH, EPOCHS = 3, 2

TRAIN = ("train", "recipe.yaml", "--out", "run")
STREAM = (
    *("stream", "weights", "long.mp4", "--json", "--record", "seen.mp4", "--save-state", "state.safetensors"),
    *(
        "--events",
        "events.jsonl",
        "--on-threshold",
        "0.4",
        "--off-threshold",
        "0.35",
        "--min-seconds",
        "0",
        "--device",
        "cpu",
    ),
)
EXTRACT = ("data", "extract-frames", "clips.csv", "--out", "out", "--workers", "2")


def write_inputs(folder: Path) -> None:
    """What the commands above read, and a run of the first that was not stopped."""
    import torch

    from lsn.config import FrameRates, InputConfig
    from lsn.models import create_model
    from lsn.models.weights import save_weights

    torch.manual_seed(0)
    model = create_model("lsn_test_resnet", num_classes=len(LABELS), num_frames=2)
    with torch.no_grad():
        for name, parameter in model.memory.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(0.5)
        model.get_classifier().weight.mul_(30)
    rates, input = FrameRates(FPS, FPS, FPS), InputConfig(size=32, short_side=32)
    save_weights(folder / "weights", model, labels=LABELS, input=input, metrics={}, frame_rates=rates)
    _video(folder / "long.mp4", NUM_ANSWERS)
    for split, num_videos, num_frames in (("train", 6, 3), ("val", 2, 3), ("clips", NUM_VIDEOS, NUM_FRAMES)):
        (folder / split).mkdir()
        rows = ["path,label"]
        for number in range(num_videos):
            _video(folder / split / f"{number}.mp4", num_frames)
            rows.append(f"{split}/{number}.mp4,{'ab'[number % 2]}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    recipe = {
        "model": {"name": "lsn_test_resnet", "num_frames": 2, "pretrained": False, "memory_stages": [3]},
        "data": {"train": "train.csv", "val": "val.csv", "num_workers": 0},
        "input": {"size": 32, "short_side": 32},
        "optim": {"learning_rate": 0.001, "lr_base_size": 0, "new_layer_lr_mult": 1.0, "warmup_epochs": 0.0},
        "training": {
            "epochs": EPOCHS,
            "min_steps_per_epoch": 1,
            "batch_size": 2,
            "batch_norm": "train",
            "device": "cpu",
            "checkpoint_every": 1,
        },
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))


def _video(path: Path, num_frames: int) -> None:
    import numpy as np

    from lsn.video import write_video

    noise = np.random.default_rng(len(path.name) + num_frames)
    coarse = noise.integers(0, 256, (num_frames, 4, 4, 3), dtype=np.uint8)
    write_video(path, coarse.repeat(10, axis=1).repeat(10, axis=2), fps=FPS)


def checkpoint_step(run: Path) -> int:
    """How many steps of a run its checkpoint holds."""
    import torch

    return torch.load(run / "checkpoint.pt", weights_only=True)["position"]["step"]


def go_on(folder: Path, after_seconds: float) -> list[dict[str, Any]]:
    """The answers of a stream that is restored from its saved state, to two frames more."""
    import numpy as np

    from lsn.streaming import EventRules, StreamingPredictor

    events = EventRules(on_threshold=0.4, off_threshold=0.35, min_seconds=0)
    predictor = StreamingPredictor(folder / "weights", device="cpu", events=events)
    stream = predictor.open(state=folder / "state.safetensors")
    frame = np.zeros((40, 40, 3), dtype=np.uint8)
    pushed = [answer for t in (1, 2) for answer in stream.push(after_seconds + t / FPS, frame)]
    return [answer.to_dict() for answer in pushed]


def weights_hash(run: Path) -> str:
    """A hash of the weights of a run."""
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
