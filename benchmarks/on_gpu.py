"""Everything that only a GPU can show, in under 6 minutes: `make gpu`.

The tests marked `gpu`, then the benchmarks of the recurrence, the whole network, the step and the stages, and one
epoch of the demo in bf16. Each step is a process with a time limit of its own, so that one that fails or hangs costs
no other. Writes results.json, and results.md for docs/benchmarks.md.

    python benchmarks/on_gpu.py
    python benchmarks/on_gpu.py --out runs/gpu tests step
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from interleave import RESULTS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Step:
    """One process: its arguments after `python`, and the seconds that it may take."""

    name: str
    arguments: tuple[str, ...]
    limit_seconds: float


def script(name: str, *arguments: str) -> tuple[str, ...]:
    return str(HERE / f"{name}.py"), *arguments, "--device", "cuda"


BF16 = "--precision", "bf16", "--batch", "16"
STEPS = (
    Step(
        "tests",
        ("-m", "pytest", "-m", "gpu", "--tb=short", "-p", "no:cacheprovider", str(HERE.parent / "tests/gpu")),
        150,
    ),
    Step("recurrence", script("recurrence", *BF16, "--turns", "10"), 30),
    Step("network", script("network", "control", *BF16, "--turns", "5"), 30),
    Step("step", script("step_cost", "--compile", "--turns", "50"), 70),
    Step("profile", script("stage_profile", *BF16, "--turns", "3"), 30),
    Step("videos", ("-m", "lsn", "data", "synthesize", "data", "--kind", "motion"), 25),
    Step(
        "demo",
        (
            *("-m", "lsn", "train", "demo", "data.train=data/train.csv", "data.val=data/val.csv", "data.num_workers=4"),
            *("training.device=cuda", "training.precision=bf16", "training.epochs=1", "--out", "run"),
        ),
        25,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What a step did."""

    name: str
    command: str
    exit_code: int | None
    """None if the step ran out of time."""
    seconds: float
    output: str
    """Standard output and error."""
    comparisons: list[dict[str, Any]]
    """What `interleave.compare` measured."""

    @property
    def verdict(self) -> str:
        """In words."""
        return {0: "passed", None: "out of time"}.get(self.exit_code, f"failed ({self.exit_code})")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"all, or some of {', '.join(s.name for s in STEPS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    options = parser.parse_args(arguments)
    if unknown := set(options.steps) - {step.name for step in STEPS}:
        parser.error(f"no step {', '.join(sorted(unknown))}")
    if not torch.cuda.is_available():
        print("no CUDA device here; nothing was run", file=sys.stderr)
        return 2
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as scratch:
        for step in STEPS:
            if not options.steps or step.name in options.steps:
                outcomes.append(run(step, Path(scratch)))
                print(f"{step.name}: {outcomes[-1].verdict} after {outcomes[-1].seconds:.0f} s", flush=True)
                write(options.out, machine(), outcomes)
    print(options.out / "results.md")
    return 0 if all(outcome.exit_code == 0 for outcome in outcomes) else 1


def run(step: Step, folder: Path) -> Outcome:
    """Runs per step in a folder; one that runs out of time is killed with the processes that it started."""
    results, log = folder / f"{step.name}.jsonl", folder / f"{step.name}.log"
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *step.arguments],
            cwd=folder,
            env=os.environ | {RESULTS: str(results), "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            exit_code = process.wait(step.limit_seconds)
        except subprocess.TimeoutExpired:
            exit_code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Outcome(
        name=step.name,
        command=" ".join(["python", *(part.removeprefix(f"{HERE.parent}/") for part in step.arguments)]),
        exit_code=exit_code,
        seconds=time.monotonic() - start,
        output=log.read_text(encoding="utf-8", errors="replace"),
        comparisons=[json.loads(line) for line in results.read_text().splitlines()] if results.exists() else [],
    )


def machine() -> dict[str, str]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "date": date.today().isoformat(),
        "gpu": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB",
        "cores": str(os.cpu_count()),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
    }


def write(out: Path, machine: dict[str, str], outcomes: Sequence[Outcome]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine, "steps": [asdict(outcome) for outcome in outcomes]}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (out / "results.md").write_text(markdown(machine, outcomes), encoding="utf-8")


def markdown(machine: dict[str, str], outcomes: Sequence[Outcome]) -> str:
    """A section for docs/benchmarks.md: the machine, the steps, what was compared, and what else was printed."""
    lines = ["## On a GPU", "", "    make gpu", "", ", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines += ["| step | outcome | seconds |", "|---|---|---|"]
    lines += [f"| {outcome.name} | {outcome.verdict} | {outcome.seconds:.0f} |" for outcome in outcomes]
    for outcome in outcomes:
        lines += ["", f"### {outcome.name}", "", f"    {outcome.command}", ""]
        if outcome.comparisons:
            lines += ["| | ratio | quartiles | left, ms | right, ms |", "|---|---|---|---|---|"]
            lines += [comparison_row(comparison) for comparison in outcome.comparisons]
        names = tuple(f"{comparison['name']}:" for comparison in outcome.comparisons)
        others = [line for line in outcome.output.splitlines() if not line.strip().startswith(names)]
        lines += ["", "```", *(others if outcome.exit_code == 0 else others[-60:]), "```"]
    return "\n".join(lines) + "\n"


def comparison_row(comparison: dict[str, Any]) -> str:
    low, high = comparison["quartiles"]
    times = f"{comparison['left_ms']:.2f} | {comparison['right_ms']:.2f}"
    return f"| {comparison['name']} | {comparison['ratio']:.2f} | {low:.2f} to {high:.2f} | {times} |"


if __name__ == "__main__":
    sys.exit(main())
