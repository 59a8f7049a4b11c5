"""How far memories reach: weights trained on short clips of `long`, tested on ever longer ones.

The class is the order of two flashes, so that what is measured is whether the first one is still known when the second
comes. Every run sees the same videos, all of their frames, and no run has been trained on the longer ones. Videos are
written for each length.

    python benchmarks/memory_span.py runs/tables/long/lsn/seed0 runs/tables/long/no_ats/seed0
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lsn.config import EvaluationConfig
from lsn.data import read_manifest
from lsn.data.synthetic import write_synthetic
from lsn.errors import LSNError
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models.weights import load_weights

SEED = 1
"""Another than that of the videos that `long` is trained and validated on."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="weights folders, trained on `long`")
    parser.add_argument("--frames", type=int, nargs="+", default=[48, 96, 192, 384], help="frames per video")
    parser.add_argument("--videos", type=int, default=100, help="videos of each length, even")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        for num_frames in options.frames:
            with tempfile.TemporaryDirectory() as folder:
                written = write_synthetic(
                    Path(folder, "long"),
                    kind="long",
                    num_train=2,
                    num_val=options.videos,
                    num_frames=num_frames,
                    seed=SEED,
                )
                for run in options.runs:
                    print(f"{num_frames:6} frames  {measure(run, written.val, num_frames):6.1%}  {run}", flush=True)
    except LSNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(run: Path, manifest: Path, num_frames: int) -> float:
    """Top-1 over all frames of the videos."""
    loaded = load_weights(run)
    videos = read_manifest(manifest, labels=loaded.labels)
    protocol = replace(EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig()), num_frames=num_frames)
    result = evaluate(loaded.model, videos, protocol, device=torch.device("cpu"), num_workers=0)
    return result.metrics.top1


if __name__ == "__main__":
    sys.exit(main())
