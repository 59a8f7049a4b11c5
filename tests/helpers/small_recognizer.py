"""A small network that has something to say, small videos, and work that two processes share."""

import subprocess
import sys
from pathlib import Path

import torch

from lsn.config import FrameRates, InputConfig
from lsn.models import Recognizer, create_model
from lsn.streaming import StreamPrediction, StreamSession

LABELS = ("up", "down", "left", "right", "stay", "spin")
INPUT = InputConfig(size=32, short_side=36)
FPS = 10
RATES = FrameRates(5, FPS, 20)


def lively_model(name: str = "lsn_resnet10t", **options) -> Recognizer:
    """A small network whose memory says something and whose answers differ from video to video."""
    torch.manual_seed(0)
    options = {"memory_stages": (2, 3)} | options
    model = create_model(name, num_classes=len(LABELS), num_frames=4, **options)
    with torch.no_grad():
        for name, parameter in model.memory.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(0.5)
            elif name.endswith("expand.weight"):  # of a GRU
                parameter.normal_()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
        model.get_classifier().weight.mul_(30)
        clips = torch.stack([noisy_frames(seed, num_frames=4, height=32, width=32) for seed in range(100, 108)])
        model.get_classifier().bias.sub_(model.eval()(clips.permute(0, 1, 4, 2, 3) / 64 - 2).mean(dim=0))
    return model


def noisy_frames(seed: int, *, num_frames: int = 9, height: int = 40, width: int = 56) -> torch.Tensor:
    """uint8 THWC: coarse random patterns, so that encoding hardly changes them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (num_frames, 3, 4, 4), generator=generator, dtype=torch.uint8)
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="nearest")
    return fine.permute(0, 2, 3, 1).contiguous()


def push_all(stream: StreamSession, frames, start: int = 0) -> list[StreamPrediction]:
    """Frames at the predictor's own rate; the answers at the ticks up to the last but one."""
    return [answer for t, frame in enumerate(frames, start) for answer in stream.push(t / FPS, frame)]


def run_two_processes(script: str, folder: Path, *arguments: Path) -> None:
    """Runs a script as rank 0 and as rank 1 at the same time; both must end well."""
    path = folder / "two.py"
    path.write_text(script)
    processes = [subprocess.Popen([sys.executable, str(path), rank, *map(str, arguments)]) for rank in "01"]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
