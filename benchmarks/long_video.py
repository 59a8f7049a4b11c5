"""A long video as one stream: how fast, in what memory, and whether two parts with a saved state find the same events.

The second part is streamed by another process, from the state that the first one has saved in the middle. Resident
memory is read from /proc, so this needs Linux.

    lsn data synthesize runs/data/hour --kind timeline --num-train 116 --num-val 4
    ls $PWD/runs/data/hour/*/*.mp4 | sed "s/.*/file '&'/" > list.txt
    ffmpeg -f concat -safe 0 -i list.txt -c copy hour.mp4
    python benchmarks/long_video.py starter:motion hour.mp4
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from soak import resident_bytes

from lsn import StreamingPredictor
from lsn.streaming import StreamSession
from lsn.video import open_video

PARTS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("video", type=Path)
    parser.add_argument("--state", type=Path, help="only the second half, from this state; prints its reports")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    predictor = StreamingPredictor(options.weights, device="cpu", capacity=2)
    with open_video(options.video) as video:
        middle = video.num_frames // 2
    if options.state is not None:
        session = predictor.open(state=options.state)
        print(json.dumps(stream(session, options.video, middle, None)))
        return 0
    seconds = time.perf_counter()
    whole = stream(predictor.open("whole"), options.video, 0, None, shows_memory=True)
    seconds = time.perf_counter() - seconds
    with open_video(options.video) as video:
        duration = video.info.duration_seconds
    print(f"{duration / 60:.1f} minutes in {seconds / 60:.1f}: {duration / seconds:.1f} times real time")

    with tempfile.TemporaryDirectory() as folder:
        session, state = predictor.open("halves"), Path(folder, "state")
        first = stream(session, options.video, 0, middle)
        session.save(state)
        again = [sys.executable, __file__, options.weights, str(options.video), "--state", str(state)]
        done = subprocess.run(again, check=True, capture_output=True, text=True)
    reports = first + json.loads(done.stdout)
    ended = sum(report["report"] == "end" for report in whole)
    print(f"{ended} events; {len(whole)} reports, in two parts {len(reports)}; the same: {reports == whole}")
    return int(reports != whole)


def stream(
    session: StreamSession, path: Path, first: int, last: int | None, *, shows_memory: bool = False
) -> list[dict[str, Any]]:
    """What is reported of some frames of a file; those of its end too, unless it is left before."""
    reports = []
    with open_video(path) as video:
        for number, (pts_seconds, frame_HWC) in enumerate(video):
            if number < first:
                continue
            if last is not None and number >= last:
                break
            for answer in session.push(pts_seconds, frame_HWC):
                reports += [report.to_dict() for report in answer.events]
            if shows_memory and (number + 1) % (video.num_frames // PARTS) == 0:
                print(f"frame {number + 1}: {resident_bytes() / 1e6:.1f} MB resident", flush=True)
        if last is None:
            answers, ongoing = session.finish(video.end_seconds)
            reports += [report.to_dict() for answer in answers for report in answer.events]
            reports += [report.to_dict() for report in ongoing]
    return reports


if __name__ == "__main__":
    sys.exit(main())
