"""A step of one stream in each runtime, beside the fused step of PyTorch; all take turns in one run.

    pip install 'lsn-video[export]'
    python benchmarks/runtimes.py --threads 1
    python benchmarks/runtimes.py --threads 2 --models lsn_resnet50

OpenVINO and ONNX Runtime run float32 and int8. Weights are random, and int8 is calibrated on noise: the times are those
of a trained network, the accuracy is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from streams_equal import save_awake

from lsn.export.export import Reduction, reduce_graphs, write_graphs
from lsn.hardware import tune_allocator
from lsn.inference.runtimes.contract import Runtime, StreamStates
from lsn.inference.runtimes.description import write_description
from lsn.inference.runtimes.onnx import OnnxRuntime
from lsn.inference.runtimes.opening import open_model
from lsn.inference.runtimes.openvino import OpenVinoRuntime
from lsn.models.weights import load_weights

MODELS = ("lsn_resnet50", "lsn_tf_efficientnet_lite0", "lsn_mobilenetv3_large_100")
GRAPHS = {"onnx": OnnxRuntime, "openvino": OpenVinoRuntime}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true", help="leave PyTorch's compiler out")
    parser.add_argument("--out", type=Path, help="keep weights and exports here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    tune_allocator()
    print("| model | runtime | p50 | p99 | of the fused step of PyTorch |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.models:
            folder = (options.out or Path(temporary)) / f"{name}_{options.size}"
            race(name, sides_of(name, folder, options), options)
    return 0


def sides_of(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Runtime]:
    """Each runtime, ready to step; exports that are there are taken."""
    if not folder.exists():
        save_awake(folder, name, {}, options.size)
    loaded = load_weights(folder)
    sides = {"pytorch": open_model(loaded, device="cpu").runtime}
    if not options.no_compile:
        sides["compiled"] = open_model(loaded, "compiled", device="cpu").runtime
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 3, options.size, options.size), dtype=np.uint8)
    for target, runtime in GRAPHS.items():
        for reduction in (Reduction(), Reduction("int8", list(noise))):
            exported = folder / f"{target}-{reduction.precision}"
            if not exported.exists():
                exported.mkdir()
                description = write_graphs(folder, loaded, target, exported)
                write_description(exported, description)
                if reduction.precision != "fp32":
                    write_description(exported, reduce_graphs(loaded, exported, description, reduction))
            label = target if reduction.precision == "fp32" else f"{target}, int8"
            sides[label] = runtime(exported, num_threads=options.threads)
    return sides


def race(name: str, sides: dict[str, Runtime], options: argparse.Namespace) -> None:
    """Prints milliseconds a step of each side, and the median of the ratios to the first."""
    frames = np.random.default_rng(1).integers(0, 256, (8, 1, 3, options.size, options.size), dtype=np.uint8)
    states: dict[str, StreamStates] = {label: runtime.allocate(1) for label, runtime in sides.items()}
    times = np.empty((options.turns, len(sides)))
    for turn in range(-8, options.turns):
        for number, stream in enumerate(states.values()):
            start = time.perf_counter()
            stream.step([0], frames[turn % len(frames)])
            times[max(turn, 0), number] = 1000 * (time.perf_counter() - start)
    for number, label in enumerate(sides):
        p50, p99 = np.percentile(times[:, number], (50, 99))
        ratio = np.median(times[:, number] / times[:, 0])
        print(f"| {name} | {label} | {p50:.1f} ms | {p99:.1f} ms | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
