"""Stand-ins for your weights and videos, so that every example runs as it is: small, and made on the spot."""

from pathlib import Path

import numpy as np
import torch

from lsn import create_model
from lsn.config import FrameRates, InputConfig
from lsn.models.weights import save_weights
from lsn.video import write_video

LABELS = ("walking_left", "walking_right")


def toy_frames(label: str = LABELS[0], num_frames: int = 16, seed: int = 0) -> np.ndarray:
    """uint8 RGB of shape (num_frames, 48, 64, 3): a bright square that walks over noise."""
    rng = np.random.default_rng(seed)
    frames_THWC = rng.integers(0, 80, (num_frames, 48, 64, 3), dtype=np.uint8)
    columns = np.linspace(4, 44, num_frames).round().astype(int)
    top = rng.integers(0, 32)
    for t, left in enumerate(columns if label == "walking_right" else columns[::-1]):
        frames_THWC[t, top : top + 16, left : left + 16] = 255
    return frames_THWC


def toy_video(path: str | Path, label: str = LABELS[0], num_frames: int = 16, seed: int = 0) -> Path:
    """The same as a file of 16 frames per second."""
    write_video(path, toy_frames(label, num_frames, seed), fps=16)
    return Path(path)


def toy_folder(folder: str | Path, videos_per_class: int) -> Path:
    """One folder per class, with videos in each."""
    for label in LABELS:
        for seed in range(videos_per_class):
            toy_video(Path(folder, label, f"{seed}.mp4"), label, seed=seed)
    return Path(folder)


@torch.no_grad()
def toy_weights(folder: str | Path) -> Path:
    """A weights folder as a training leaves one, but of a network that has learned nothing: its answers are chance."""
    torch.manual_seed(0)
    model = create_model("lsn_test_resnet", num_classes=len(LABELS), num_frames=8)
    for block in model.memory.values():
        block.expand[1].weight.fill_(1.0)  # a new memory adds nothing to its input; this one has a say
    model.get_classifier().weight.mul_(100)
    rates = FrameRates(low=8, median=8, high=8)  # of the training clips: what a stream follows
    input = InputConfig(size=48, short_side=48)
    save_weights(folder, model, labels=LABELS, input=input, metrics={}, frame_rates=rates)
    return Path(folder)
