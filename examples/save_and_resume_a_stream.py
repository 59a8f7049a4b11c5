"""Save a stream in the middle and resume it, as another process would: the numbers are the same bit for bit.

python examples/save_and_resume_a_stream.py
python examples/save_and_resume_a_stream.py --weights runs/mine
"""

import argparse
from pathlib import Path

import numpy as np
from toy import toy_frames, toy_weights

from lsn import StreamingPredictor

FPS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--state", type=Path, default=Path("runs/door.safetensors"))
    options = parser.parse_args()
    weights = options.weights or toy_weights("runs/example_weights")
    frames = [(t / FPS, frame_HWC) for t, frame_HWC in enumerate(toy_frames(num_frames=64))]

    stream = StreamingPredictor(weights).open("door")
    uninterrupted = [prediction for at, frame in frames for prediction in stream.push(at, frame)]

    stream = StreamingPredictor(weights).open("door")
    before = [prediction for at, frame in frames[:30] for prediction in stream.push(at, frame)]
    options.state.parent.mkdir(parents=True, exist_ok=True)
    stream.save(options.state)
    print(f"saved after {stream.seconds:.2f} s: {options.state.stat().st_size:,} bytes, however long it has run")

    stream = StreamingPredictor(weights).open("door", state=options.state)
    after = [prediction for at, frame in frames[30:] for prediction in stream.push(at, frame)]
    print(f"resumed at {after[0].seconds:.2f} s, {after[0].num_frames} frames after the start")

    for one, other in zip(before + after, uninterrupted, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)
    print(f"all {len(uninterrupted)} predictions are those of the stream that was not interrupted")


if __name__ == "__main__":
    main()
