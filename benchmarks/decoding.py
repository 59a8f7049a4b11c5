"""Sixteen TSN frames of each video, beside torchcodec, OpenCV and PyAV as one writes it first; one thread each.

The second part goes on to the normalised tensor: here `EvalTransform` and what the network starts with, also from
frames that libswscale shrinks in the pass that converts them, there torchvision's transforms on torchcodec's frames.
The sides take turns on every video; that they chose the same frames is checked by their pixels.

    pip install torchcodec opencv-python-headless
    python benchmarks/decoding.py egogestar/val/*/*.mp4
    python benchmarks/decoding.py egogestar/val/*/*.mp4 --height 1080
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from interleave import seconds
from reading import FPS, join
from torch import Tensor
from torchcodec.decoders import VideoDecoder
from torchvision.transforms import v2

from lsn.hardware import tune_allocator
from lsn.models.layout import normalize_frames
from lsn.video import open_video
from lsn.video.decoding.pyav_reader import PyAVReader
from lsn.video.eval_transform import EvalTransform
from lsn.video.sampling import segment_indices_eval

NUM_FRAMES, SIZE, SHORT_SIDE = 16, 224, 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LARGEST_DIFFERENCE = 12.0  # mean over pixels; converters differ a little, neighbouring frames more


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--rounds", type=int, default=3, help="turns on each video")
    parser.add_argument("--height", type=int, help="join them into ten H.264 videos of 10 s and this height, 4:3")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tune_allocator()
    with tempfile.TemporaryDirectory() as folder:
        if options.height is not None:
            sources = [Path(video) for video in options.videos]
            options.videos = [str(path) for path in join(sources, Path(folder), 10, 10 * FPS, options.height)]
        run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    """Both parts."""
    crop = EvalTransform(size=SIZE, short_side=SHORT_SIDE, num_crops=1)
    mean_C, std_C = 255 * torch.tensor(MEAN), 255 * torch.tensor(STD)

    def ours(frames_THWC: np.ndarray) -> Tensor:
        return normalize_frames(torch.from_numpy(crop(frames_THWC)), mean_C, std_C)[0]

    theirs = v2.Compose(
        [
            v2.Resize(SHORT_SIDE, antialias=True),
            v2.CenterCrop(SIZE),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    readers = {"ours": read, "torchcodec": read_torchcodec, "OpenCV": read_opencv, "naive PyAV": read_pyav}
    race("16 frames", readers, options)
    race(
        "to the normalised tensor",
        {
            "ours": lambda path: ours(read(path)),
            "ours, shrunk while converted": lambda path: ours(read_shrunk(path)),
            "torchcodec + torchvision": lambda path: theirs(read_torchcodec(path).permute(0, 3, 1, 2)),
        },
        options,
    )


def race(what: str, sides: dict[str, Callable[[str], np.ndarray | Tensor]], options: argparse.Namespace) -> None:
    """Milliseconds a video of each side, and the ratio of each to the first."""
    times = np.empty((len(options.videos), options.rounds, len(sides)))
    for number, path in enumerate(options.videos):
        results = [np.asarray(side(path), dtype=np.float32) for side in sides.values()]
        for name, result in zip(sides, results, strict=True):
            difference = np.abs(result - results[0]).mean()
            if difference > LARGEST_DIFFERENCE:
                raise SystemExit(f"{path}: {name} has other frames: {difference:.1f} on average")
        for turn in range(options.rounds):
            for place, side in enumerate(sides.values()):
                times[number, turn, place] = seconds(lambda side=side, path=path: side(path))
    best = 1000 * times.min(axis=1)
    print(f"{what}, {len(options.videos)} videos, milliseconds a video and ratio to ours (quartiles over videos)")
    for place, name in enumerate(sides):
        low, middle, high = np.percentile(best[:, place] / best[:, 0], (25, 50, 75))
        print(f"  {name:30}{best[:, place].mean():8.1f}  {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


def read(path: str) -> np.ndarray:
    """uint8 THWC."""
    with open_video(path) as reader:
        return reader.frames_at(segment_indices_eval(reader.num_frames, NUM_FRAMES)).frames_THWC


def read_shrunk(path: str) -> np.ndarray:
    with PyAVReader(path, short_side=SHORT_SIDE) as reader:
        return reader.frames_at(segment_indices_eval(reader.num_frames, NUM_FRAMES)).frames_THWC


def read_torchcodec(path: str) -> Tensor:
    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1)
    return decoder.get_frames_at(segment_indices_eval(len(decoder), NUM_FRAMES)).data


def read_opencv(path: str) -> np.ndarray:
    """The count that the container states, every frame grabbed, the wanted ones converted."""
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    wanted = segment_indices_eval(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), NUM_FRAMES)
    found: dict[int, np.ndarray] = {}
    for index in range(max(wanted) + 1):
        capture.grab()
        if index in wanted:
            found[index] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
    capture.release()
    return np.stack([found[index] for index in wanted])


def read_pyav(path: str) -> np.ndarray:
    """Decodes all, converts all, keeps some."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack([frames[index] for index in segment_indices_eval(len(frames), NUM_FRAMES)])


if __name__ == "__main__":
    sys.exit(main())
