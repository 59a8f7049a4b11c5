"""How far exported graphs are from PyTorch, for every kind of model that streams: what `lsn export` compares.

    pip install 'lsn-video[export]'
    python benchmarks/export_parity.py --size 64

Weights are random, logits have a scale of a few units, frames are moving noise. Differences are relative to the largest
logit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from streams_equal import save_awake

from lsn.export.export import export_weights

FAMILIES = (("lsn", {}), ("convlstm", {}), ("gru", {}), ("lsn_ss", {"shift": "causal"}))
CNNS = ("resnet18", "resnet50", "tf_efficientnet_lite0", "mobilenetv3_large_100")
TARGETS = ("onnx", "openvino", "torch")
COLUMNS = ("clips, 1", "steps of 1 ", "steps of 8 ", "join", "1,000 steps", "saved, ")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cnns", nargs="+", default=CNNS)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args(arguments)
    print("| model | format | clip | step | of 8 streams | joining and leaving | 1,000 steps | moved to PyTorch |")
    print("|---|---|---|---|---|---|---|---|")
    for cnn in options.cnns:
        for family, overrides in FAMILIES:
            with tempfile.TemporaryDirectory() as folder:
                name = f"{family}_{cnn}"
                save_awake(Path(folder), name, overrides, options.size)
                for target in options.targets:
                    _, description = export_weights(folder, target)
                    found = [line.difference for part in COLUMNS for line in description.proof if part in line.check]
                    print(f"| `{name}` | {target} | {' | '.join(f'{each:.0e}' for each in found)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
