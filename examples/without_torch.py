"""Find events in a video without PyTorch: an exported network under ONNX Runtime.

    pip install 'lsn-video[export]'
    python examples/without_torch.py
    python examples/without_torch.py --export runs/mine/onnx --video clip.mp4

The exported folder holds all that is needed. The machine that runs it needs no PyTorch:

    pip install --no-deps lsn-video
    pip install av numpy onnxruntime pillow pyyaml safetensors simplejpeg
"""

import argparse
import subprocess
import sys
from pathlib import Path

from lsn import StreamingPredictor
from lsn.streaming.timeline import make_timeline

TOY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from toy import toy_video, toy_weights
from lsn.export.export import export_weights
weights = toy_weights("runs/export_weights")
if not (weights / "onnx").exists():
    export_weights(weights, "onnx")
toy_video("runs/export_weights/clip.mp4", num_frames=64)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path)
    parser.add_argument("--video", type=Path)
    options = parser.parse_args()
    if (options.export is None) != (options.video is None):
        parser.error("give both --export and --video, or neither")
    folder = options.export or Path("runs/export_weights/onnx")
    video = options.video or Path("runs/export_weights/clip.mp4")
    if options.export is None and not video.exists():  # a training machine, with PyTorch, makes what is watched here
        subprocess.run([sys.executable, "-c", TOY], check=True)

    predictor = StreamingPredictor(folder)
    print(predictor.describe())
    for event in make_timeline(predictor, video).events:
        print(f"{event.start_seconds:.2f} to {event.end_seconds:.2f} s: {event.label}, {event.confidence:.1%} sure")
    print("with PyTorch" if "torch" in sys.modules else "without PyTorch")


if __name__ == "__main__":
    main()
