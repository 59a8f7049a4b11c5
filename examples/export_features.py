"""Export what a trained network sees: one feature vector per frame, for a classifier, a search or a plot of your own.

python examples/export_features.py
python examples/export_features.py --weights runs/mine videos/*.mp4
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from toy import LABELS, toy_video, toy_weights

from lsn.config import EvaluationConfig
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models.weights import load_weights
from lsn.video import open_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("features.npz"))
    options = parser.parse_args()
    videos = options.videos or [toy_video(f"runs/example_clips/{label}.mp4", label) for label in LABELS]

    loaded = load_weights(options.weights or toy_weights("runs/example_weights"))
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig())  # one clip with one crop
    features: dict[str, np.ndarray] = {}
    for path in videos:
        with open_video(path) as video:
            views = protocol.read(video)  # the frames that a prediction would be made of
        with torch.inference_mode():
            maps_BTCHW = loaded.model.forward_features(torch.from_numpy(views.views_VTCHW))
            pooled_BTC = loaded.model.forward_head(maps_BTCHW, pre_logits=True)
        features[str(path)] = pooled_BTC[0].numpy()
        print(f"{path}: {pooled_BTC.shape[1]} frames, {pooled_BTC.shape[2]} features each")
    np.savez_compressed(options.out, **features)
    print(f"written to {options.out}; read it with numpy.load")


if __name__ == "__main__":
    main()
