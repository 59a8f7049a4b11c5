"""Joins real videos into a data set whose class is the order of two events: a gesture and a fight.

Each video has 48 frames: calm, one event, at least 20 frames of calm, the other event, calm. Calm is a chain of
short excerpts from surveillance without fights, so that a cut alone announces nothing. Every video is
written twice, with its two events exchanged and all else the same: both hold the same frames, so an
order-free model is at chance by construction. Gesture scenes and surveillance sources of the validation
videos are never seen in training.

    python benchmarks/two_events.py EGOGESTAR SURV_FIGHT OUT
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.v2.functional import center_crop, resize

from lsn.data import Clip, open_clip, read_manifest, split_manifest
from lsn.errors import DataError, LSNError
from lsn.files import write_csv
from lsn.video import write_video

LABELS = ("gesture then fight", "fight then gesture")
NUM_FRAMES, GAP_FRAMES, END_FRAMES = 48, 20, 3
EVENT_FRAMES = range(4, 9)
CALM_FRAMES = range(4, 11)
HEIGHT, WIDTH, FPS = 96, 128, 8


@dataclass(frozen=True)
class Sources:
    """Clips that one split is made of."""

    gestures: Sequence[Clip]
    fights: Sequence[Clip]
    calm: Sequence[Clip]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("egogestar", type=Path, help="folder with train.csv and val.csv (path,label,scene)")
    parser.add_argument("surv_fight", type=Path, help="folder with index.csv (path,label,source)")
    parser.add_argument("out", type=Path, help="new folder for the joined videos, train.csv and val.csv")
    parser.add_argument("--num-train", type=int, default=600, help="training videos, even")
    parser.add_argument("--num-val", type=int, default=120, help="validation videos, even")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        for name in ("num_train", "num_val"):
            if getattr(options, name) < 2 or getattr(options, name) % 2:
                raise DataError(f"{name} is {getattr(options, name)}; it must be even and at least 2")
        if options.out.exists() and not (options.out.is_dir() and not any(options.out.iterdir())):
            raise DataError(f"{options.out}: exists and is not an empty folder; choose a new one")
        train, val = read_sources(options.egogestar, options.surv_fight, seed=options.seed)
        write_split(options.out, "train", train, options.num_train, random.Random(f"{options.seed}/train"))
        write_split(options.out, "val", val, options.num_val, random.Random(f"{options.seed}/val"))
    except LSNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def read_sources(egogestar: Path, surv_fight: Path, *, seed: int) -> tuple[Sources, Sources]:
    """The clips of both splits; a surveillance source is never in both."""
    surveillance = read_manifest(surv_fight / "index.csv", group_column="source")
    splits = split_manifest(surveillance, val_fraction=0.25, seed=seed)
    sources = []
    for name, split in zip(("train", "val"), splits, strict=True):
        fights = [clip for clip in split.clips if clip.label == "fight"]
        calm = [clip for clip in split.clips if clip.label != "fight"]
        gestures = read_manifest(egogestar / f"{name}.csv").clips
        for kind, clips in (("gesture", gestures), ("fight", fights), ("calm", calm)):
            if not clips:
                raise DataError(f"{surv_fight} and {egogestar}: no {kind} clips for {name}")
        sources.append(Sources(gestures, fights, calm))
    return sources[0], sources[1]


def write_split(out: Path, split: str, sources: Sources, num_videos: int, rng: random.Random) -> None:
    """Writes the videos of a split, each in both orders, and its manifest."""
    rows = [("path", "label", "pair", "gesture", "fight")]
    for pair in range(num_videos // 2):
        gesture, fight = rng.choice(sources.gestures), rng.choice(sources.fights)
        for label, frames_THWC in zip(LABELS, join(gesture, fight, sources.calm, rng), strict=True):
            path = f"{split}/{label.replace(' ', '_')}/{pair:04d}.mp4"
            write_video(out / path, frames_THWC, fps=FPS, crf=0)  # lossless: no artefact shows the order
            rows.append((path, label, str(pair), Path(gesture.path).name, Path(fight.path).name))
        if pair % 20 == 19 or 2 * pair + 2 == num_videos:
            print(f"{split}: {2 * pair + 2} of {num_videos} videos", file=sys.stderr)
    write_csv(out / f"{split}.csv", rows)


def join(gesture: Clip, fight: Clip, calm: Sequence[Clip], rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Both orders of one pair of events, (48, 96, 128, 3) each.

    The lengths of the two events follow one law and the positions all that remain evenly, so that where and how
    long the events are says nothing about which is which.
    """
    events = [
        excerpt(gesture, rng.choice(EVENT_FRAMES), rng, share=rng.uniform(0.5, 0.9)),
        excerpt(fight, rng.choice(EVENT_FRAMES), rng, share=rng.uniform(0.3, 0.9)),
    ]
    slack = NUM_FRAMES - sum(map(len, events)) - GAP_FRAMES - 2 * END_FRAMES
    before, between = sorted(rng.sample(range(slack + 2), 2))
    lengths = END_FRAMES + before, GAP_FRAMES + between - 1 - before, END_FRAMES + slack - (between - 1)
    first, middle, last = (calm_chain(calm, length, rng) for length in lengths)
    forward, swapped = (np.concatenate([first, a, middle, b, last]) for a, b in (events, events[::-1]))
    return forward, swapped


def calm_chain(calm: Sequence[Clip], length: int, rng: random.Random) -> np.ndarray:
    """Excerpts of random calm clips, one after the other, cut off at `length` frames."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < length:
        parts.append(excerpt(rng.choice(calm), rng.choice(CALM_FRAMES), rng, share=rng.uniform(0.3, 0.9)))
    return np.concatenate(parts)[:length]


def excerpt(clip: Clip, num_frames: int, rng: random.Random, *, share: float) -> np.ndarray:
    """Evenly spaced frames of a random window that covers `share` of the clip, resized and cropped to fill."""
    with open_clip(clip) as reader:
        span = min(reader.num_frames, max(num_frames, round(share * reader.num_frames)))
        start = rng.randint(0, reader.num_frames - span)
        frames_THWC = reader.frames_at([start + k * span // num_frames for k in range(num_frames)]).frames_THWC
    frames_TCHW = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)
    height, width = frames_TCHW.shape[-2:]
    scale = max(HEIGHT / height, WIDTH / width)
    resized = resize(frames_TCHW, [round(scale * height), round(scale * width)], antialias=True)
    return center_crop(resized, [HEIGHT, WIDTH]).permute(0, 2, 3, 1).numpy()


if __name__ == "__main__":
    sys.exit(main())
