"""Evaluate a weights folder on a manifest, and look at the mistakes.

    python examples/evaluate_weights.py
    python examples/evaluate_weights.py --weights runs/mine videos/test.csv

On a command line: `lsn evaluate runs/mine videos/test.csv`.
"""

import argparse
from pathlib import Path

from toy import toy_folder, toy_weights

from lsn.config import EvaluationConfig
from lsn.data import read_manifest
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models.weights import load_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", nargs="?", type=Path, help=".csv, .jsonl, TSN list, or folder of class folders")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/example_evaluation"))
    options = parser.parse_args()

    loaded = load_weights(options.weights or toy_weights("runs/example_weights"))
    videos = options.manifest or toy_folder("runs/example_test", videos_per_class=4)
    manifest = read_manifest(videos, labels=loaded.labels)  # numbered as the network numbers its classes
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig(num_clips=2, num_crops=1))
    result = evaluate(loaded.model, manifest, protocol, on_unreadable="skip")

    print(f"{protocol.describe()}: top-1 {result.metrics.top1:.1%} on {result.metrics.num_videos} videos")
    wrong = [row for row in result.rows if row.predicted != row.clip.label]
    for row in sorted(wrong, key=lambda row: -row.confidence)[:3]:
        print(f"surest mistake: {row.clip.path} is {row.clip.label}, not {row.predicted} ({row.confidence:.1%})")
    options.out.mkdir(parents=True, exist_ok=True)
    result.save(options.out)
    print(f"one row per video in {options.out / 'predictions.csv'}")


if __name__ == "__main__":
    main()
