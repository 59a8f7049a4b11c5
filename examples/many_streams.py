"""Watch several sources at once: each is read in a thread of its own, and the model runs once for all of them.

python examples/many_streams.py
python examples/many_streams.py --weights runs/mine door=rtsp://camera/live yard=yard.mp4 desk=0
"""

import argparse
from pathlib import Path

from toy import toy_video, toy_weights

from lsn import StreamingPredictor, StreamPrediction, StreamRunner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", metavar="NAME=SOURCE", help="file, folder of frames, camera or address")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    sources = dict(text.split("=", 1) for text in options.sources)
    if not sources:
        for seed, name in enumerate(("door", "yard", "desk")):
            sources[name] = str(toy_video(f"runs/example_clips/{name}.mp4", num_frames=16 + 16 * seed, seed=seed))

    weights = options.weights or toy_weights("runs/example_weights")
    predictor = StreamingPredictor(weights, capacity=len(sources))
    with StreamRunner(predictor, sources) as runner:
        for item in runner:
            if isinstance(item, StreamPrediction):
                print(f"{item.stream}: {item.seconds:5.2f} s  {item.label}")
            else:  # a StreamEnd: the others go on
                reason = "ended" if item.error is None else f"failed: {item.error}"
                print(f"{item.stream}: {reason} at {item.seconds:.2f} s")


if __name__ == "__main__":
    main()
