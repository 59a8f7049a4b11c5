"""A stream that runs for long: memory and time per frame must stay flat.

Frames of random patterns go through `Stream.push`, transform, model, consensus and events. Times are of the processor,
so that other programs count less. Resident memory is read from /proc, so this needs Linux.

    python benchmarks/soak.py starter:gestures --frames 1000000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lsn import StreamingPredictor
from lsn.streaming import EventRules

REPORT_EVERY = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--fps", type=float, default=8.0)
    parser.add_argument("--consensus", default=None)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rules = EventRules(on_threshold=0.3, off_threshold=0.2)
    stream = StreamingPredictor(options.weights, fps=options.fps, consensus=options.consensus, events=rules).open()
    patterns = np.random.default_rng(0).integers(0, 256, (64, 90, 120, 3), dtype=np.uint8)
    milliseconds = np.full(options.frames, np.nan)  # all of it is resident from the beginning
    resident_at = {}
    num_events = num_answers = 0
    for t in range(options.frames):
        start = time.process_time()
        for answer in stream.push(t / options.fps, patterns[t // 5 % len(patterns)]):
            num_answers += 1
            num_events += sum(report.kind == "end" for report in answer.events)
            if not np.isfinite(answer.probabilities).all():
                print(f"frame {t}: not finite")
                return 1
        milliseconds[t] = 1000 * (time.process_time() - start)
        if t + 1 in (1000, options.frames) or (t + 1) % REPORT_EVERY == 0:
            resident_at[t + 1] = resident_bytes()
            print(f"frame {t + 1}: {resident_at[t + 1] / 1e6:.1f} MB resident, {num_events} events", flush=True)
    start, end = milliseconds[:1000], milliseconds[-1000:]
    growth = [bytes / resident_at[1000] - 1 for bytes in resident_at.values()]
    print(f"{num_answers} answers; memory from frame 1000 on: {min(growth):+.2%} to {max(growth):+.2%}")
    for name, figure in (("median", np.median), ("mean", np.mean)):
        print(f"{name} time of the last / first thousand: {figure(end):.2f} / {figure(start):.2f} ms", end=" ")
        print(f"= {figure(end) / figure(start):.3f}")
    return 0


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    sys.exit(main())
