"""Predict on frames that no video file holds: from a simulator, a medical format, a decoder of your own.

python examples/own_frames.py
python examples/own_frames.py --weights runs/mine
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from toy import toy_frames, toy_weights

from lsn import Predictor, StreamingPredictor, StreamPrediction, StreamRunner


def read_frames(path: Path) -> np.ndarray:
    """Your reader: uint8 RGB of shape (frames, height, width, 3). Here it reads an array of NumPy."""
    return np.load(path)


def timed(frames_THWC: np.ndarray, fps: float) -> Iterator[tuple[float, np.ndarray]]:
    """The same one by one, with the time of each."""
    for t, frame_HWC in enumerate(frames_THWC):
        yield t / fps, frame_HWC


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", nargs="?", type=Path, default=Path("frames.npy"))
    parser.add_argument("--fps", type=float, default=16)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    weights = options.weights or toy_weights("runs/example_weights")
    if not options.frames.exists():
        np.save(options.frames, toy_frames(num_frames=40))
    frames_THWC = read_frames(options.frames)

    prediction = Predictor(weights)(frames_THWC, fps=options.fps)
    print(f"as a clip: {prediction.label}")

    with StreamRunner(StreamingPredictor(weights), {"mine": timed(frames_THWC, options.fps)}) as runner:
        for item in runner:
            if isinstance(item, StreamPrediction):
                print(f"as a stream, at {item.seconds:.2f} s: {item.label}")


if __name__ == "__main__":
    main()
