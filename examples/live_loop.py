"""Push frames into a stream from a loop of your own, and react to predictions and events.

    python examples/live_loop.py
    python examples/live_loop.py --weights runs/mine

Replace `camera` by whatever gives you frames: what counts is the time of each frame, not the rate.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from toy import toy_frames, toy_weights

from lsn import StreamingPredictor
from lsn.streaming import EventRules


def camera(fps: float = 25) -> Iterator[tuple[float, np.ndarray]]:
    """Yields (seconds, uint8 RGB frame of shape (height, width, 3))."""
    for t, frame_HWC in enumerate(toy_frames(num_frames=100)):
        yield t / fps, frame_HWC


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()

    rules = EventRules(on_threshold=0.6, off_threshold=0.5, min_seconds=0.5)
    predictor = StreamingPredictor(options.weights or toy_weights("runs/example_weights"), events=rules)
    stream = predictor.open("door")
    for seconds, frame_HWC in camera():
        for prediction in stream.push(seconds, frame_HWC):  # none, one or more, at the model's own rate
            label, probability = prediction.top(1)[0]
            print(f"{prediction.seconds:5.2f} s  {label:13} {probability:.1%}")
            for report in prediction.events:  # new, update (another label than was said), or end
                event = report.event
                print(f"         event {event.id}, {report.kind}: {event.label} since {event.start_seconds:.2f} s")
    _, ongoing_events = stream.finish(seconds)
    for report in ongoing_events:
        print(f"at the end: {report.event.label}, since {report.event.start_seconds:.2f} s")
    stream.close()


if __name__ == "__main__":
    main()
