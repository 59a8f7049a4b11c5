"""What a busy neighbour costs, by how OpenMP's threads wait for each other: spinning, sleeping, or as `lsn` lets them.

Measures a training step, a frame of a stream, an epoch with two workers and, where it is asked for, the whole of
`lsn demo`: alone, beside a process that does nothing but count, and beside a second process of their own kind. Every
measurement is a process with an environment of its own, and all sides take turns.

    python benchmarks/shared_machine.py
    python benchmarks/shared_machine.py --only demo --turns 1
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from lsn import create_model
from lsn.cli import main as run_command
from lsn.data import ClipDataset, make_loader, read_manifest
from lsn.data.synthetic import write_synthetic
from lsn.hardware import BRIEF_WAITING, tune_allocator
from lsn.training.clips.views import TrainingViews
from lsn.video.clip_sampler import SegmentSampler
from lsn.video.transforms import TrainTransform

WAITING = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # what GNU's OpenMP does by itself; were it not set, `lsn demo` would
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "as lsn": BRIEF_WAITING,
}
NEIGHBOURS = ("alone", "beside a loop", "beside its like")
COUNT = """
import os
parent = os.getppid()
print("ready", flush=True)
while os.getppid() == parent:
    pass
"""
WARM_UPS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=["step", "frame", "epoch"])
    parser.add_argument("--waiting", nargs="+", choices=WAITING, default=list(WAITING))
    parser.add_argument("--neighbours", nargs="+", choices=NEIGHBOURS, default=list(NEIGHBOURS))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a measurement, after its warm-up")
    parser.add_argument("--longest", type=float, default=120.0, help="seconds after which a measurement is given up")
    parser.add_argument("--model", default="lsn_resnet50")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        measure(options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            show(name, compare(name, options, Path(folder)))
    return 0


def compare(name: str, options: argparse.Namespace, folder: Path) -> dict[tuple[str, str], float]:
    """Median seconds by waiting and neighbour, all of them in turns; infinite where most were given up."""
    command = [sys.executable, __file__, "--measure", name, "--model", options.model, "--size", str(options.size)]
    command += ["--frames", str(options.frames), "--folder", str(folder)]
    commands = {
        "alone": None,
        "beside a loop": [sys.executable, "-c", COUNT],
        "beside its like": [*command, "--seconds", "inf"],
    }
    neighbours = list(options.neighbours)
    if name == "demo" and "beside its like" in neighbours:  # it trains two models side by side itself
        neighbours.remove("beside its like")
    found = defaultdict(list)
    for _, neighbour, waiting in itertools.product(range(options.turns), neighbours, options.waiting):
        environment = {key: value for key, value in os.environ.items() if key not in BRIEF_WAITING} | WAITING[waiting]
        try:
            with running(commands[neighbour], environment):
                text = subprocess.run(
                    [*command, "--seconds", str(options.seconds)],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    timeout=options.longest,
                ).stdout
            found[waiting, neighbour].append(float(text.split()[-1]))
        except subprocess.TimeoutExpired:
            found[waiting, neighbour].append(math.inf)
    return {sides: statistics.median(times) for sides, times in found.items()}


@contextmanager
def running(command: list[str] | None, environment: dict[str, str]) -> Iterator[None]:
    """Keeps a process at its work while the block runs."""
    if command is None:
        yield
        return
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"{command}: ended before it was at work")
            yield
        finally:
            process.kill()


def show(name: str, found: dict[tuple[str, str], float]) -> None:
    """Prints seconds, and over those of the first side: with all of them, of threads that spin alone."""
    first = next(iter(found.values()))
    for (waiting, neighbour), seconds in found.items():
        print(f"{name}, {waiting}, {neighbour}: {seconds:.4g} s ({seconds / first:.2f})", flush=True)


def measure(options: argparse.Namespace) -> None:
    """Prints that it is ready after a warm-up, and at the end the median of seconds."""
    parent = os.getppid()  # without which nobody would end a neighbour
    run = MEASURES[options.measure](options)
    is_demo = options.measure == "demo"
    for _ in range(0 if is_demo else WARM_UPS):
        run()
    print("ready", flush=True)
    times: list[float] = []
    end = time.monotonic() + (0 if is_demo else options.seconds)
    while not times or (time.monotonic() < end and os.getppid() == parent):
        start = time.monotonic()
        run()
        times.append(time.monotonic() - start)
    print(statistics.median(times))


def make_step(options: argparse.Namespace) -> Callable[[], object]:
    """A training step of one clip."""
    clip_BTCHW = torch.randint(0, 256, (1, options.frames, 3, options.size, options.size), dtype=torch.uint8)
    step = make_training(options)
    return lambda: step(clip_BTCHW, torch.zeros(1, dtype=torch.long))


def make_frame(options: argparse.Namespace) -> Callable[[], object]:
    """A frame of a stream."""
    tune_allocator()
    model = create_model(options.model, num_classes=10, num_frames=options.frames).eval()
    frame_BCHW = torch.randint(0, 256, (1, 3, options.size, options.size), dtype=torch.uint8)
    state = model.init_state(1, options.size, options.size)
    return torch.inference_mode()(lambda: model.step(frame_BCHW, state))


def make_epoch(options: argparse.Namespace) -> Callable[[], object]:
    """An epoch of 40 short videos that two workers read."""
    videos = write_synthetic(
        Path(options.folder) / "videos", kind="motion", num_train=40, num_val=10, size=options.size
    )
    transform = TrainTransform(size=options.size, scales=(1.0, 0.875), labels=videos.labels)
    views = TrainingViews(SegmentSampler(options.frames), transform)
    dataset = ClipDataset(read_manifest(videos.train), views)
    loader = make_loader(dataset, indices=range(len(dataset)), batch_size=4, num_workers=2)
    step = make_training(options)

    def epoch() -> None:
        for batch in loader:
            assert batch.views_BVTCHW is not None
            step(batch.views_BVTCHW[:, 0], batch.labels_B)

    return epoch


def make_demo(options: argparse.Namespace) -> Callable[[], object]:
    """The whole demo, with videos of its own."""

    def demo() -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            if run_command(["demo", "--out", str(Path(options.folder) / f"demo{os.getpid()}")]) != 0:
                raise SystemExit("the demo failed")

    return demo


def make_training(options: argparse.Namespace) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Forward, backward and update."""
    tune_allocator()
    model = create_model(options.model, num_classes=10, num_frames=options.frames).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)

    def step(clips_BTCHW: torch.Tensor, labels_B: torch.Tensor) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(clips_BTCHW), labels_B).backward()
        optimizer.step()

    return step


MEASURES = {"step": make_step, "frame": make_frame, "epoch": make_epoch, "demo": make_demo}

if __name__ == "__main__":
    sys.exit(main())
