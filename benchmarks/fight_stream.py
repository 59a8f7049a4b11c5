"""Real fights in long videos: clips of fights joined with calm ones of other places.

    python benchmarks/fight_stream.py surv_fight runs/data/fight_events
    lsn train timeline data.train=runs/data/fight_events/train.csv data.val=runs/data/fight_events/val.csv \
        data.test=runs/data/fight_events/test.csv model.name=lsn_tf_efficientnet_lite0

Each video cuts from place to place every two seconds, as a wall of cameras does. No source is in two splits.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from gesture_stream import JOIN_FPS, read_clip, timed
from torchvision.transforms.v2 import functional as F

from lsn.data import Manifest, read_manifest
from lsn.data.timelines.reading import write_timelines
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.video import write_video

FIGHT = "fight"
SIZE = [120, 160]
VIDEO_FIGHTS = 6
MAX_CALM = 3
SHARES = {"test": 0.25, "val": 0.15}
SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fights", type=Path, help="folder of surv_fight with index.csv (path,label,source)")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--rounds", type=int, default=3, help="how often each fight is joined")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    manifest = read_manifest(options.fights / "index.csv", group_column="source")
    for split, numbers in split_sources(manifest).items():
        rng = random.Random(f"{split} {SEED}")
        videos = []
        for number, order in enumerate(orders(manifest, numbers, rng, options.rounds)):
            path = options.folder / split / f"{number}.mp4"
            frames_THWC, events = joined(manifest, order)
            write_video(path, frames_THWC, fps=JOIN_FPS)
            videos.append(TimelineVideo(str(path), in_order(events)))
        table = options.folder / f"{split}.csv"
        write_timelines(table, TimelineManifest(str(table), (FIGHT,), tuple(videos)))
        print(f"{table}: {len(videos)} videos with {sum(len(video.events) for video in videos)} fights")
    return 0


def split_sources(manifest: Manifest) -> dict[str, list[int]]:
    """Numbers of the clips of each split, whole sources."""
    sources = sorted({clip.group for clip in manifest.clips})
    random.Random(SEED).shuffle(sources)
    parts: dict[str, list[int]] = {split: [] for split in (*SHARES, "train")}
    for source in sources:
        split = next((s for s, share in SHARES.items() if len(parts[s]) < share * len(manifest)), "train")
        parts[split] += [number for number, clip in enumerate(manifest.clips) if clip.group == source]
    return parts


def orders(manifest: Manifest, numbers: Sequence[int], rng: random.Random, rounds: int) -> Iterator[list[int]]:
    """Clips of videos: every fight once per round, each with one to three calm clips before it."""
    fights = [number for number in numbers if manifest.clips[number].label == FIGHT]
    calm = [number for number in numbers if manifest.clips[number].label != FIGHT]
    for _ in range(rounds):
        shuffled = rng.sample(fights, len(fights))
        for start in range(0, len(shuffled), VIDEO_FIGHTS):
            order = []
            for fight in shuffled[start : start + VIDEO_FIGHTS]:
                order += [*rng.sample(calm, min(rng.randint(1, MAX_CALM), len(calm))), fight]
            yield [*order, rng.choice(calm)]


def joined(manifest: Manifest, order: Sequence[int]) -> tuple[np.ndarray, list[TimelineEvent]]:
    """One video of the clips, and the fights in it."""
    parts: list[np.ndarray] = []
    events, length = [], 0
    for number in order:
        frames_THWC, fps = read_clip(manifest, number)
        moments = [t / JOIN_FPS for t in range(max(1, int(len(frames_THWC) / fps * JOIN_FPS)))]
        clip_THWC = np.stack([frame for _, frame in timed(frames_THWC, fps, moments)])
        small_TCHW = F.resize(torch.from_numpy(clip_THWC).permute(0, 3, 1, 2), SIZE, antialias=True)
        parts.append(small_TCHW.permute(0, 2, 3, 1).numpy())
        if manifest.clips[number].label == FIGHT:
            events.append(TimelineEvent(FIGHT, length / JOIN_FPS, (length + len(moments)) / JOIN_FPS))
        length += len(moments)
    return np.concatenate(parts), events


if __name__ == "__main__":
    sys.exit(main())
