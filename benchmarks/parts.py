"""A very long video in parts, on several workers, against one pass: the same events, and how much sooner.

Videos of one kind are joined and repeated until that is long enough, without encoding them again. One process streams
it in one pass. Then `lsn batch` cuts it into parts, once with the state of the part before, which must give the very
same events, and once with a warm-up; there each event that differs is shown with its distance from the nearest cut.

    lsn data synthesize runs/data/day --kind timeline --num-train 2 --num-val 20
    python benchmarks/parts.py OUT runs/data/day/val/*.mp4 --hours 10
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet
import torch

from lsn import StreamingPredictor
from lsn.streaming.timeline import make_timeline
from lsn.video import open_video

LSN = [sys.executable, "-m", "lsn"]
PART_SECONDS = 120
Event = tuple[str, float, float]
"""Label, start and end."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder, new")
    parser.add_argument("videos", type=Path, nargs="+", help="of one size and rate")
    parser.add_argument("--weights", default="starter:motion")
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--warm-up", type=float, default=20, help="seconds")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True)
    long = joined(options.videos, options.hours, options.out / "long.mp4")
    torch.set_num_threads(1)
    start = time.monotonic()
    events = make_timeline(StreamingPredictor(options.weights, device="cpu"), long).events
    once = [(event.label, event.start_seconds, event.end_seconds) for event in events]
    print(f"one pass: {len(once)} events in {time.monotonic() - start:.0f} s", flush=True)
    chained = batch(options, long, "chained")
    print("with the state of the part before:", "the same events" if chained == once else "OTHER EVENTS", flush=True)
    compare(once, batch(options, long, "warm-up", "--warm-up", str(options.warm_up)))
    return 0 if chained == once else 1


def joined(videos: Sequence[Path], hours: float, out: Path) -> Path:
    names = out.with_suffix(".txt")
    names.write_text("".join(f"file '{video.absolute()}'\n" for video in videos))
    looped = ["-stream_loop", "-1", "-f", "concat", "-safe", "0", "-i", names]
    command = ["ffmpeg", "-v", "error", *looped, "-t", f"{hours * 3600:g}", "-c", "copy", out]
    subprocess.run(command, check=True)
    with open_video(out) as reader:
        print(f"{reader.info.duration_seconds / 3600:.2f} hours, {reader.num_frames:,} frames", flush=True)
    return out


def batch(options: argparse.Namespace, video: Path, name: str, *more: str) -> list[Event]:
    start, out = time.monotonic(), options.out / name
    command = [*LSN, "batch", str(video), "--weights", options.weights, "--workers", str(options.workers)]
    command += ["--part-seconds", str(PART_SECONDS), "--out", str(out), *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = pyarrow.parquet.read_table(out / "events.parquet").to_pylist()
    print(f"{name}: {len(rows)} events in {time.monotonic() - start:.0f} s, {options.workers} workers", flush=True)
    return [(row["label"], row["start_seconds"], row["end_seconds"]) for row in rows]


def compare(once: Sequence[Event], other: Sequence[Event]) -> None:
    """Says how far from a cut the events are that only one of two ways has."""
    differing = sorted(set(once) ^ set(other), key=lambda event: event[1])
    print(f"with a warm-up: {len(set(once) & set(other))} of {len(once)} events are the same to the frame")
    for label, start, end in differing:
        cut = round(start / PART_SECONDS) * PART_SECONDS
        where = "one pass" if (label, start, end) in once else "warm-up"
        print(f"  {where:9} {label:12} {start:10.2f} to {end:10.2f} s, {start - cut:+.2f} s from the cut at {cut} s")


if __name__ == "__main__":
    sys.exit(main())
