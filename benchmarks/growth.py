"""How cost grows with the length of a video: drawn as a picture.

Left, the time of one more answer after so many frames: a step of the stream, the last window again, and the whole
video again. Right, the time a frame of whole clips of so many frames. Each point is the median of turns in which all
sides take part.

    python benchmarks/growth.py --out docs/assets/growth.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
from interleave import seconds

import lsn
from lsn.hardware import tune_allocator
from lsn.models.layout import frames_channels_last
from lsn.models.prepare import prepare_for_inference

WINDOW = 16


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lsn_resnet50")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512], help=f"from {WINDOW} on")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="the picture (.png)")
    options = parser.parse_args(arguments)
    if min(options.frames) < WINDOW:
        parser.error(f"--frames begins at {WINDOW}, the length of the window")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tune_allocator()
    rows = measure(options)
    print(f"{'frames':>7}{'step':>12}{'window':>12}{'all again':>12}{'a frame of the clip':>22}")
    for num_frames, (step, window, whole) in zip(options.frames, rows, strict=True):
        cells = "".join(f"{1000 * value:9.1f} ms" for value in (step, window, whole))
        print(f"{num_frames:7}{cells}{1000 * whole / num_frames:19.2f} ms")
    draw(options, rows)
    return 0


def measure(options: argparse.Namespace) -> list[tuple[float, ...]]:
    """Seconds of a step, of the window and of the whole clip, by number of frames."""
    model = prepare_for_inference(lsn.create_model(options.model, num_classes=174), device="cpu")
    clip_BTCHW = frames_channels_last(torch.randn(1, max(options.frames), 3, options.size, options.size))
    runs, states = [], {}
    with torch.inference_mode():
        for num_frames in options.frames:
            _, states[num_frames] = model.step(clip_BTCHW[:, : num_frames - 1])
            runs += [
                lambda t=num_frames: model.step(clip_BTCHW[:, t - 1], states[t]),
                lambda t=num_frames: model(clip_BTCHW[:, t - WINDOW : t]),
                lambda t=num_frames: model(clip_BTCHW[:, :t]),
            ]
        turns = [[seconds(run) for run in runs] for _ in range(options.turns + 1)][1:]  # the first one warms up
    medians = [median(times) for times in zip(*turns, strict=True)]
    return [tuple(medians[place : place + 3]) for place in range(0, len(medians), 3)]


def draw(options: argparse.Namespace, rows: Sequence[tuple[float, ...]]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    names = ("a step of the stream", f"the window of {WINDOW} again", "the whole video again")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        left.plot(options.frames, [1000 * value for value in values], marker="o", label=name)
    left.set(title="one more answer", xlabel="frames seen", ylabel="milliseconds", xscale="log", yscale="log")
    left.legend(frameon=False)
    right.plot(options.frames, [1000 * row[2] / t for t, row in zip(options.frames, rows, strict=True)], marker="o")
    right.set(title="whole clips", xlabel="frames of the clip", ylabel="milliseconds a frame", xscale="log")
    right.set_ylim(0, 1.15 * right.get_ylim()[1])
    for axes in (left, right):
        axes.set_xticks(options.frames, [str(t) for t in options.frames])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
