"""Milliseconds a training clip from the videos as they are, and from their frames as JPEGs, in one run.

A training clip is what a network is given: one random frame of each of 16 segments, cropped and resized to 224 pixels.
Both sides read every video several times, in turns, with the same random numbers. The frames are those of `lsn data
extract-frames`, whose own time gives the epochs after which extraction has paid for itself. Everything lies on local
disk and in the page cache: what a slow or a far disk adds is not in these figures.

    python benchmarks/reading.py SURV_FIGHT/index.csv
    python benchmarks/reading.py SURV_FIGHT/index.csv --seconds 30 --height 720
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.v2.functional import center_crop, resize

from lsn.data import read_manifest
from lsn.errors import DataError, LSNError
from lsn.training.clips.views import TrainingViews
from lsn.video import VideoReader, VideoWriter, open_video
from lsn.video.clip_sampler import SegmentSampler
from lsn.video.transforms import TrainTransform
from lsn.video.writing.jpeg_frames import extract_frames, open_for_extraction

FPS = 25
EPOCHS = 3
SHORT_SIDE = 256


@dataclass
class Figures:
    """What was measured of all videos."""

    num_frames: int = 0
    video_bytes: int = 0
    jpeg_bytes: int = 0
    extraction: list[float] = field(default_factory=list)
    """Seconds a video; likewise below, seconds a training clip."""
    from_video: list[float] = field(default_factory=list)
    from_jpegs: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="manifest or folder of class folders")
    parser.add_argument("--most", type=int, default=50, help="videos, at most")
    parser.add_argument("--seconds", type=float, help="join the clips into H.264 videos of this length, at 25 frames/s")
    parser.add_argument("--height", type=int, default=240, help="height of joined videos, 4:3")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        if options.most < 2:
            raise DataError(f"--most is {options.most}; a comparison by video needs at least 2")
        sources = [Path(clip.path) for clip in read_manifest(options.manifest).clips]
        with tempfile.TemporaryDirectory() as folder:
            paths = sources[: options.most]
            if options.seconds is not None:
                paths = join(sources, Path(folder), options.most, round(options.seconds * FPS), options.height)
            figures = measure(paths, Path(folder))
    except LSNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(figures, len(paths))
    return 0


def join(sources: Sequence[Path], folder: Path, num_videos: int, num_frames: int, height: int) -> list[Path]:
    """Videos of random sources one after the other, coded as ffmpeg does by itself."""
    rng, width, paths = random.Random(0), height * 4 // 3, []
    for number in range(num_videos):
        path = folder / f"{number}.mp4"
        with VideoWriter(path, fps=FPS, width=width, height=height, crf=23) as writer:
            left = num_frames
            while left > 0:
                with open_video(rng.choice(sources)) as reader:
                    for _, frame_HWC in reader:
                        if left > 0:
                            writer.write(fill(frame_HWC, height, width))
                        left -= 1
        paths.append(path)
    return paths


def fill(frame_HWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """The frame, enlarged or shrunk to cover the size and cropped to it."""
    frame_CHW = torch.from_numpy(frame_HWC).permute(2, 0, 1)
    scale = max(height / frame_CHW.shape[1], width / frame_CHW.shape[2])
    size = [round(scale * side) for side in frame_CHW.shape[1:]]
    return center_crop(resize(frame_CHW, size, antialias=True), [height, width]).permute(1, 2, 0).numpy()


def measure(paths: Sequence[Path], folder: Path) -> Figures:
    """Extracts every video and reads a training clip of both, several times."""
    figures = Figures()
    transform = TrainTransform(size=224, scales=(1.0, 0.875, 0.75, 0.66), labels=("",))
    views = TrainingViews(SegmentSampler(16), transform)
    for number, path in enumerate(paths):
        frames = folder / f"frames{number}"
        start = time.perf_counter()
        with open_for_extraction(path, short_side=SHORT_SIDE) as reader:
            figures.num_frames += extract_frames(reader, frames)
        figures.extraction.append(time.perf_counter() - start)
        figures.video_bytes += path.stat().st_size
        figures.jpeg_bytes += sum(file.stat().st_size for file in frames.iterdir())
        for epoch in range(EPOCHS):
            sides = [(path, figures.from_video), (frames, figures.from_jpegs)]
            shapes = []
            for source, seconds in sides if (number + epoch) % 2 else sides[::-1]:
                start = time.perf_counter()
                with open_video(source) as video:
                    shapes.append((video.num_frames, view(views, video, epoch).shape))
                seconds.append(time.perf_counter() - start)
            if shapes[0] != shapes[1]:
                raise DataError(f"{path}: {shapes[0]} and {shapes[1]} frames and sizes")
    return figures


def view(views: TrainingViews, video: VideoReader, epoch: int) -> torch.Tensor:
    return views(video, 0, random.Random(epoch))[0]


def show(figures: Figures, num_videos: int) -> None:
    means = [1000 * statistics.mean(each) for each in (figures.from_video, figures.from_jpegs, figures.extraction)]
    ratios = [a / b for a, b in zip(figures.from_video, figures.from_jpegs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{num_videos} videos of {figures.num_frames / num_videos:.0f} frames, one core")
    print(f"from the video  {means[0]:8.1f} ms a training clip")
    print(f"from the JPEGs  {means[1]:8.1f} ms a training clip")
    print(f"ratio           {means[0] / means[1]:8.2f}; median {middle:.2f}, half of them {low:.2f} to {high:.2f}")
    print(f"bytes           {figures.jpeg_bytes / figures.video_bytes:8.1f} times as many as JPEGs")
    saved = means[0] - means[1]
    pays = f"{means[2] / saved:8.1f} epochs" if saved > 0 else "   never"
    print(f"extraction      {means[2]:8.1f} ms a video; paid for after {pays.strip()}")


if __name__ == "__main__":
    sys.exit(main())
