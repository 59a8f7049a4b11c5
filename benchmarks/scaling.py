"""What an archive or a wall of cameras costs: a model of the cost, fitted here, checked here, and carried far beyond.

`measure` runs a streaming model over copies of a video in several sizes and rates, one core, and fits processor time as

    videos * open + frames decoded * (frame + pixels * pixel) + answers * (answer + pixels * view) + steps * step

by least squares of the relative errors, no term below zero; streams in one engine share its steps. It then predicts
runs that were not fitted: other sizes and rates, and other numbers of streams. `project` carries the fit to many hours
and many streams: cores, network, memory, and what is full first; machines that fail are drawn at random. See
docs/scaling.md.

    python benchmarks/scaling.py measure clip.mp4 fit.json --weights starter:gestures
    python benchmarks/scaling.py project fit.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from long_video import resident_bytes

from lsn import StreamingPredictor
from lsn.batch.journal import Journal, Record
from lsn.streaming.runner import StreamRunner
from lsn.streaming.timeline import make_timeline
from lsn.video import open_video

Shape = tuple[int, int, int, int]
"""Width, height, frames per second, seconds."""
Run = tuple[Shape, ...]
"""Videos that are streamed side by side."""
FITTED: tuple[Run, ...] = (
    ((160, 120, 10, 30),),
    ((160, 120, 60, 20),),
    ((320, 240, 25, 20),),
    ((320, 240, 10, 40),),
    ((640, 360, 25, 20),),
    ((640, 360, 10, 30),),
    ((1280, 720, 25, 15),),
    ((1280, 720, 8, 20),),
    ((1920, 1080, 25, 10),),
    ((160, 120, 10, 30),) * 4,
    ((320, 240, 25, 20),) * 8,
    ((640, 360, 25, 20),) * 2,
)
CHECKED: tuple[Run, ...] = (
    ((240, 180, 20, 30),),
    ((480, 270, 30, 20),),
    ((854, 480, 15, 25),),
    ((1600, 900, 25, 10),),
    ((320, 240, 25, 20), (240, 180, 20, 30), (480, 270, 30, 20), (640, 360, 25, 20)),
    ((320, 240, 25, 20), (240, 180, 20, 30), (480, 270, 30, 20), (640, 360, 25, 20)) * 4,
)
ANSWERS_PER_SECOND = 8
NUM_RECORDS = 2_000


@dataclass(frozen=True)
class Fit:
    """Seconds of one core, and bytes."""

    weights: str
    open: float
    frame: float
    pixel: float
    answer: float
    view: float
    step: float
    bytes_per_stream: int
    """Of the state."""
    bytes_per_reader: float
    """Of an open video and what is decoded of it, by pixel of its frames."""
    seconds_per_record: float
    """To read one record of a batch's journal."""
    bytes_per_record: float

    def seconds(self, run: Run) -> float:
        """That videos take on one core, side by side."""
        return float(features(run) @ [self.open, self.frame, self.pixel, self.answer, self.view, self.step])

    def share_of_a_core(self, width: int, height: int, fps: float, *, batch: int) -> float:
        """Cores that a live stream keeps busy, of so many that share the steps of an engine."""
        decode = fps * (self.frame + width * height * self.pixel)
        return decode + ANSWERS_PER_SECOND * (self.answer + width * height * self.view + self.step / batch)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("video", type=Path, help="any video of some seconds")
    measuring.add_argument("out", type=Path, help="the fit (.json)")
    measuring.add_argument("--weights", default="starter:gestures")
    measuring.add_argument("--turns", type=int, default=3, help="each run counts as the fastest of so many")
    projecting = commands.add_parser("project")
    projecting.add_argument("fit", type=Path)
    projecting.add_argument("--cores", type=int, default=64, help="of a machine")
    projecting.add_argument("--gigabits", type=float, default=25, help="per second, of a machine's network")
    projecting.add_argument("--memory", type=float, default=256, help="GB of a machine")
    projecting.add_argument("--price", type=float, default=0.04, help="of a core for an hour")
    options = parser.parse_args(arguments)
    if options.command == "project":
        project(Fit(**json.loads(options.fit.read_text())), options)
        return 0
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fit = measure(options.video, options.weights, options.turns, Path(folder))
    options.out.write_text(json.dumps(asdict(fit)) + "\n")
    print(json.dumps(asdict(fit), indent=1))
    return 0


def features(run: Run) -> np.ndarray:
    """What the terms of the cost are multiplied by."""
    pixels = np.array([width * height for width, height, _, _ in run])
    frames = np.array([fps * seconds for _, _, fps, seconds in run])
    answers = np.array([min(fps, ANSWERS_PER_SECOND) * seconds for _, _, fps, seconds in run])
    return np.array([len(run), frames.sum(), frames @ pixels, answers.sum(), answers @ pixels, answers.max()], float)


def fit_terms(rows: np.ndarray) -> np.ndarray:
    """The terms, none below zero, that come nearest to a cost of 1 in each row."""
    kept = list(range(rows.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(rows[:, kept], np.ones(len(rows)), rcond=None)
        if (found >= 0).all():
            break
        kept.remove(kept[int(found.argmin())])
    terms = np.zeros(rows.shape[1])
    terms[kept] = found
    return terms


def measure(source: Path, weights: str, turns: int, folder: Path) -> Fit:
    predictor = StreamingPredictor(weights, device="cpu", capacity=16, fps=ANSWERS_PER_SECOND)
    runs = (*FITTED, *CHECKED)
    paths = {shape: write_copy(source, shape, folder) for shape in {shape for run in runs for shape in run}}
    make_timeline(predictor, paths[FITTED[0][0]])  # warms up
    turn = [[core_seconds(predictor, [paths[shape] for shape in run]) for run in runs] for _ in range(turns)]
    spent = dict(zip(runs, np.min(turn, axis=0), strict=True))
    scale = features(FITTED[0])  # so that the terms are of one size
    terms = fit_terms(np.stack([features(run) / scale / spent[run] for run in FITTED])) / scale
    seconds_per_record, bytes_per_record = journal_cost(folder / "journal")
    width, height, *_ = large = max(paths)
    fit = Fit(
        weights,
        *map(float, terms),
        bytes_per_stream=predictor.engine.bytes_per_stream,
        bytes_per_reader=reader_bytes(paths[large]) / (width * height),
        seconds_per_record=seconds_per_record,
        bytes_per_record=bytes_per_record,
    )
    for name, some in (("fitted", FITTED), ("not fitted", CHECKED)):
        for run in some:
            width, height, fps, seconds = run[0]
            what = f"{width}x{height}, {fps}/s, {seconds} s" if len(set(run)) == 1 else "of several sizes"
            show_check(f"{name}: {len(run)} x {what}", fit, run, spent[run])
    return fit


def show_check(name: str, fit: Fit, run: Run, spent: float) -> None:
    predicted = fit.seconds(run)
    print(f"{name:44} {spent:7.2f} s, predicted {predicted:7.2f} s ({predicted / spent - 1:+.0%})", flush=True)


def write_copy(source: Path, shape: Shape, folder: Path) -> Path:
    """The video again and again, in another size, rate and length."""
    width, height, fps, seconds = shape
    path = folder / f"{width}_{fps}_{seconds}.mp4"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", source, "-t", str(seconds), "-an"]
    command += ["-vf", f"fps={fps},scale={width}:{height}", "-c:v", "libx264", "-pix_fmt", "yuv420p", path]
    subprocess.run(command, check=True)
    return path


def core_seconds(predictor: StreamingPredictor, paths: Sequence[Path]) -> float:
    """Of this process, for videos that are streamed side by side."""
    start = time.process_time()
    readers = {str(number): open_video(path) for number, path in enumerate(paths)}
    with StreamRunner(predictor, readers, on_error="raise") as runner:
        for _ in runner:
            pass
    return time.process_time() - start


def reader_bytes(path: Path) -> float:
    """Memory that an open video takes while it is read."""
    before, readers = resident_bytes(), []
    for _ in range(8):
        video = open_video(path)
        video.frames_at([video.num_frames - 1])
        readers.append(video)
    taken = resident_bytes() - before
    for video in readers:
        video.close()
    return max(0, taken) / len(readers)


def journal_cost(folder: Path) -> tuple[float, float]:
    """Seconds to read a record of a batch, and its bytes on the disk."""
    journal = Journal(folder, is_new=True)
    event = {
        "label": "a",
        "start_seconds": 1.0,
        "end_seconds": 2.0,
        "confidence": 0.9,
        "peak": 0.9,
        "peak_seconds": 1.5,
    }
    writer = journal.writer()
    for number in range(NUM_RECORDS):
        name = f"archive/{number}.mp4"
        writer.write(Record(name, "1", "done", seconds=600.0, sha256="0" * 64, events=[event] * 20))
    start = time.process_time()
    assert sum(1 for _ in journal.records()) == NUM_RECORDS
    seconds = time.process_time() - start
    return seconds / NUM_RECORDS, sum(path.stat().st_size for path in folder.rglob("*.arrows")) / NUM_RECORDS


def project(fit: Fit, options: argparse.Namespace) -> None:
    """Prints what 10^3 to 10^6 hours and 10^2 to 10^5 streams take."""
    print(f"archive of 640x360, 25/s, 1 Mbit/s, videos of 10 minutes; machines of {options.cores} cores")
    print(f"{'hours':>9}{'core hours':>12}{'price':>10}{'machines for a week':>21}{'network':>12}{'resume reads':>14}")
    video = ((640, 360, 25, 600),)
    for hours in (10**3, 10**4, 10**5, 10**6):
        core_hours = hours * 6 * fit.seconds(video) / 3600
        machines = machines_with_failures(core_hours, options.cores, 7)
        gigabits = hours * 3600 * 1e-3 / (7 * 86400)
        resume = hours * 6 * fit.seconds_per_record
        print(
            f"{hours:9,}{core_hours:12,.0f}{core_hours * options.price:10,.0f}{machines:21,}"
            f"{gigabits:8.2f} Gb/s{resume:12,.0f} s"
        )
    print(
        f"\nlive streams of 640x360, 25/s, 1 Mbit/s; machines with {options.gigabits:g} Gb/s and {options.memory:g} GB"
    )
    print(f"{'streams':>9}{'cores':>10}{'machines':>10}{'full first':>12}{'states':>11}{'snapshots every 5 s':>21}")
    share = fit.share_of_a_core(640, 360, 25, batch=16)
    memory = fit.bytes_per_stream + fit.bytes_per_reader * 640 * 360
    full = {
        "cores": 0.7 * options.cores / share,  # a machine that is busy all the time answers late
        "network": options.gigabits * 1e9 / 1e6,
        "memory": 0.8 * options.memory * 1e9 / memory,
    }
    first = min(full, key=lambda name: full[name])
    for streams in (10**2, 10**3, 10**4, 10**5):
        states = streams * fit.bytes_per_stream
        print(
            f"{streams:9,}{streams * share:10,.0f}{int(np.ceil(streams / full[first])):10,}{first:>12}"
            f"{states / 1e9:8.2f} GB{states / 5 * 8 / 1e9:16.2f} Gb/s"
        )
    print(f"a machine carries {full[first]:,.0f} streams: " + ", ".join(f"{name} {n:,.0f}" for name, n in full.items()))


def machines_with_failures(core_hours: float, cores: int, days: float) -> int:
    """Machines that end the work in so many days in 19 of 20 draws; each fails once in 30 days, for an hour."""
    rng = np.random.default_rng(0)
    number = max(1, round(core_hours / cores / (24 * days)))
    while True:
        failures = rng.poisson(number * days / 30, size=200)
        lost_hours = failures * (1 + 120 / 3600)  # an hour away, and the part that was under way
        if np.quantile(number * 24 * days - lost_hours, 0.05) * cores >= core_hours:
            return number
        number += max(1, number // 100)


if __name__ == "__main__":
    sys.exit(main())
