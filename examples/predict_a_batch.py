"""Predict many videos with one model; a file that cannot be read does not stop the others.

python examples/predict_a_batch.py
python examples/predict_a_batch.py --weights runs/mine videos/*.mp4
"""

import argparse
import csv
import sys
from pathlib import Path

from toy import toy_video, toy_weights

from lsn import Predictor
from lsn.errors import VideoError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"))
    options = parser.parse_args()
    weights = options.weights or toy_weights("runs/example_weights")
    videos = options.videos
    if not videos:
        videos = [toy_video(f"runs/example_clips/{seed}.mp4", seed=seed) for seed in range(3)]
        videos.append(Path("runs/example_clips/missing.mp4"))

    predictor = Predictor(weights)  # loads everything once
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "probability", "error"))
        for video in videos:
            try:
                prediction = predictor(video)
            except VideoError as error:
                print(f"left out: {error}", file=sys.stderr)
                writer.writerow((video, "", "", error))
                continue
            label, probability = prediction.top(1)[0]
            print(f"{video}: {label} ({probability:.1%})")
            writer.writerow((video, label, f"{probability:.4f}", ""))
    print(f"all answers in {options.out}")


if __name__ == "__main__":
    main()
