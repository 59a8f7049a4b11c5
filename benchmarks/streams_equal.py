"""`lsn verify` over families and CNNs, with random weights whose memories and residual branches are awake.

python benchmarks/streams_equal.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

import lsn
from lsn.config import InputConfig
from lsn.models.weights import save_weights
from lsn.streaming.verify import verify

FAMILIES = (("lsn", {}), ("convlstm", {}), ("lsn_ss", {"shift": "causal"}))
CNNS = ("resnet18", "resnet50", "tf_efficientnet_lite0")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cnns", nargs="+", default=CNNS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--num-frames", type=int, default=16)
    parser.add_argument("--video", type=Path, help="a real video instead of noise")
    parser.add_argument("--compile", action="store_true", help="the streams, not the clip that they are held against")
    options = parser.parse_args(arguments)
    all_passed = True
    with tempfile.TemporaryDirectory() as folder:
        for cnn in options.cnns:
            for family, overrides in FAMILIES:
                save_awake(Path(folder), f"{family}_{cnn}", overrides, options.size)
                checks = verify(folder, options.video, num_frames=options.num_frames, is_compiled=options.compile)
                passed = all(check.passed for check in checks)
                all_passed &= passed
                figures = "  ".join(f"{check.name.partition(':')[0]} {check.difference:.1e}" for check in checks)
                print(f"{'pass' if passed else 'FAIL'}  {family}_{cnn}: {figures}", flush=True)
    return 0 if all_passed else 1


def save_awake(folder: Path, name: str, overrides: dict[str, str], size: int) -> None:
    """Random weights; logits have a scale of a few units, as trained ones have."""
    torch.manual_seed(0)
    model = lsn.create_model(name, num_classes=10, **overrides).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    with torch.inference_mode():
        scale = model(torch.randn(1, 2, 3, size, size)).std()
    with torch.no_grad():
        model.get_classifier().weight.mul_(3 / scale)
    input = InputConfig(size=size, short_side=size)
    save_weights(folder, model, labels=[str(k) for k in range(10)], input=input, metrics={})


if __name__ == "__main__":
    sys.exit(main())
