"""What a training, and a batch, are worth that are killed again and again: compared with those that nobody disturbs.

    python benchmarks/survival.py training OUT --kills 20
    python benchmarks/survival.py batch OUT videos long.mp4 --weights starter:gestures --kills 10 --driver-kills 5

The first kills `lsn train` with -9 at random moments, every other time while a checkpoint is written, and starts it
again; weights, states and metrics are compared bit by bit. The second kills Ray's workers and the command itself; the
tables are compared row by row.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

LSN = [sys.executable, "-m", "lsn"]
RECIPE = ("demo", "training.epochs=8", "training.checkpoint_every=5", "model.num_frames=8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("training", "batch"))
    parser.add_argument("out", type=Path, help="folder, new")
    parser.add_argument("sources", nargs="*", help="videos of the batch")
    parser.add_argument("--weights", default="starter:gestures")
    parser.add_argument("--workers", type=int, default=2, help="of the batch")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--driver-kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True)
    rng = random.Random(options.seed)
    if options.what == "training":
        return survive_training(options.out, options.kills, rng)
    return survive_batch(options, rng)


def survive_training(out: Path, num_kills: int, rng: random.Random) -> int:
    made = ["data", "synthesize", str(out / "data"), "--num-train", "80", "--num-val", "10"]
    subprocess.run([*LSN, *made], check=True, stdout=subprocess.DEVNULL)
    command = [*LSN, "train", *RECIPE, f"data.train={out}/data/train", f"data.val={out}/data/val", "--auto-resume"]
    start = time.monotonic()
    subprocess.run([*command, "--out", str(out / "whole")], check=True, stdout=subprocess.DEVNULL)
    print(f"undisturbed: {time.monotonic() - start:.0f} s")
    run, killed, in_checkpoint = out / "killed", 0, 0
    while not (run / "report.html").exists():
        process = subprocess.Popen([*command, "--out", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if killed < num_kills:
            in_checkpoint += wait_to_kill(process, run, rng, writing=killed % 2 == 1)
        if killed < num_kills and process.poll() is None:
            process.kill()
            killed += 1
        process.wait()
    print(f"killed {killed} times, {in_checkpoint} of them while a checkpoint was written")
    same = compare_runs(out / "whole", run)
    print("weights, states and metrics are", "equal, bit by bit" if same else "DIFFERENT")
    return 0 if same else 1


def wait_to_kill(process: subprocess.Popen[bytes], run: Path, rng: random.Random, *, writing: bool) -> bool:
    """Waits for a random moment of the training, or for a file that is being written there; whether one was."""
    before = num_steps(run)
    while process.poll() is None and num_steps(run) in (before, 0):  # until it makes a step
        time.sleep(0.01)
    if not writing:
        time.sleep(rng.uniform(0, 3))
        return False
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if any(run.glob(".checkpoint*.partial*")):
            return True
    return False


def num_steps(run: Path) -> int:
    try:
        return len((run / "metrics.jsonl").read_text().splitlines())
    except FileNotFoundError:
        return 0


def compare_runs(whole: Path, run: Path) -> bool:
    import torch

    one, other = (torch.load(folder / "checkpoint.pt", weights_only=True)["states"] for folder in (whole, run))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    lines = [
        [
            {name: value for name, value in json.loads(line).items() if name not in ("clips_per_second", "seconds")}
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (whole, run)
    ]
    same_weights = (whole / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    return same_weights and lines[0] == lines[1]


def survive_batch(options: argparse.Namespace, rng: random.Random) -> int:
    command = [*LSN, "batch", *options.sources, "--weights", options.weights]
    command += ["--workers", str(options.workers), "--out"]
    start = time.monotonic()
    subprocess.run([*command, str(options.out / "whole")], check=False, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    print(f"undisturbed: {seconds:.0f} s")
    # At random shares of all that is written: how long a run takes differs from one to the next.
    moments = sorted(rng.uniform(0, 0.95) * written(options.out / "whole") for _ in range(options.kills))
    killed, driver_kills, start = 0, 0, time.monotonic()
    while True:
        process = subprocess.Popen([*command, str(options.out / "killed")], stdout=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(0.05)
            workers: list[int] = []
            if killed < options.kills and written(options.out / "killed") >= moments[killed]:
                workers = ray_workers(process.pid)  # those that are at work
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                killed += 1
                if killed * options.driver_kills // options.kills > driver_kills:
                    time.sleep(rng.uniform(0, 3))
                    process.kill()
                    driver_kills += 1
        if process.returncode in (0, 2):
            break
    print(f"killed {killed} workers and {driver_kills} drivers: {time.monotonic() - start:.0f} s")
    return compare_tables(options.out / "whole", options.out / "killed")


def written(out: Path) -> int:
    """Bytes of what is done in a batch."""
    return sum(path.stat().st_size for path in (out / "journal/records").glob("*.arrows"))


def ray_workers(driver: int) -> list[int]:
    """Ray's processes that are at work below a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command, parent = (path / "cmdline").read_bytes(), int(path.name)
            if command.startswith(b"ray::") and not command.startswith(b"ray::IDLE"):
                while parent > 1 and parent != driver:
                    parent = int((Path("/proc") / str(parent) / "stat").read_text().rpartition(")")[2].split()[1])
                found += [int(path.name)] if parent == driver else []
    return found


def compare_tables(whole: Path, killed: Path) -> int:
    import pyarrow.parquet as pq

    is_same = True
    for path in sorted(whole.glob("*.parquet")):
        one, other = pq.read_table(path), pq.read_table(killed / path.name)
        is_same &= one.equals(other)
        print(f"{path.name}: {len(one)} rows,", "equal" if one.equals(other) else "DIFFERENT")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
