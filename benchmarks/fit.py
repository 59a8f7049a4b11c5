"""Whether recipes fit small real sets: 60 clips, every CNN, way of batch norm and batch size, three seeds.

Each cell trains on 60 clips until 95% of them are right as the network would be used (in eval mode, the whole clip),
or to the end of the recipe, and counts the warnings of the training. Frames are small, few and extracted once: a cell
takes some minutes. Cells are written to a file as they end; the same command continues where it was stopped.

    python benchmarks/fit.py EGOGESTAR SURV_FIGHT tf_efficientnet_lite0.in1k.safetensors fit.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lsn.config import load_config
from lsn.config.recipes import find_recipe
from lsn.data import read_manifest
from lsn.data.frames.extraction import ExtractionSettings, extract_manifests
from lsn.errors import LSNError, TrainingStopped
from lsn.files import write_csv
from lsn.training import StepReport, train
from lsn.training.task import Validation

GESTURES = ("circle", "cross", "left", "right", "up", "down")
CLIPS = 60
ENOUGH = 0.95
CNNS = {
    "tf_efficientnet_lite0": ("train", "partial", "frozen"),
    "resnet18": ("train",),
    "mobilenetv3_large_100": ("train",),
}
"""With the ways of batch norm: those that keep trained statistics need weights, which are there for the first."""
SHORT_SIDE = 72
SMALL = (
    "model.num_frames=4",
    "input.size=64",
    f"input.short_side={SHORT_SIDE}",
    "data.num_workers=0",
    "input.horizontal_flip=false",
)


@dataclass(frozen=True)
class Cell:
    """One training."""

    recipe: str
    data: str
    model: str
    batch_norm: str
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Fit:
    """What came of a cell."""

    cell: Cell
    epochs: int
    """Until enough was right, or all of them."""
    top1: float
    """On the training clips, in eval mode."""
    warnings: dict[str, int]
    """Of the training, by kind."""


class Watcher:
    """Asks a training to stop once enough is right, and remembers how far it came."""

    def __init__(self) -> None:
        self.top1: list[float] = []

    def on_start(self, lines: Sequence[str]) -> None:
        """Says nothing."""

    def on_step(self, report: StepReport) -> None:
        """Says nothing."""

    def on_evaluation(self, done: int, total: int) -> None:
        """Says nothing."""

    def on_evaluated(self, epoch: int, validation: Validation, is_best: bool) -> None:
        """Notes how many training clips are right."""
        self.top1.append(validation.score)

    def is_enough(self) -> bool:
        """Whether the clips are fitted."""
        return bool(self.top1) and self.top1[-1] >= ENOUGH


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("egogestar", type=Path, help="folder with train.csv (path,label,scene)")
    parser.add_argument("surv_fight", type=Path, help="folder with index.csv (path,label,source)")
    parser.add_argument("weights", type=Path, help="of timm's tf_efficientnet_lite0")
    parser.add_argument("out", type=Path, help="file of the cells, one JSON object a line")
    parser.add_argument("--recipes", nargs="+", default=["default"])
    parser.add_argument("--family", default="lsn", help="what stands before the CNN's name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--overrides", nargs="*", default=[], help="further changes to the recipes")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            sets = {
                "gestures": _small_set(options.egogestar / "train.csv", GESTURES, Path(folder, "gestures")),
                "fights": _small_set(options.surv_fight / "index.csv", None, Path(folder, "fights")),
            }
            for cell in _cells(options.recipes, options.family, options.seeds):
                if cell not in [fit.cell for fit in _read(options.out)]:
                    fit = _train(cell, sets[cell.data], options.weights, Path(folder, "run"), options.overrides)
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(fit)) + "\n")
        _print(_read(options.out))
    except (LSNError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _small_set(manifest: Path, labels: Sequence[str] | None, folder: Path) -> tuple[Path, Path]:
    """As many clips of each class, as two manifests of their frames: to train on, and again to see what is fitted."""
    clips = list(read_manifest(manifest).clips)
    random.Random(0).shuffle(clips)
    labels = labels or sorted({clip.label for clip in clips})
    chosen = [clip for label in labels for clip in [c for c in clips if c.label == label][: CLIPS // len(labels)]]
    folder.mkdir()
    rows = [(str(Path(clip.path).absolute()), clip.label) for clip in chosen]
    links = [folder / f"{number}{Path(path).suffix}" for number, (path, _) in enumerate(rows)]
    for link, (path, _) in zip(links, rows, strict=True):
        link.symlink_to(path)
    again = [(link.name, label) for link, (_, label) in zip(links, rows, strict=True)]
    manifests = folder / "train.csv", folder / "again.csv"
    for file, lines in zip(manifests, (rows, again), strict=True):
        write_csv(file, [("path", "label"), *lines])
    frames = extract_manifests(
        [read_manifest(file) for file in manifests], folder / "frames", settings=ExtractionSettings(SHORT_SIDE)
    )
    train_csv, again_csv = frames.manifests
    return train_csv, again_csv


def _cells(recipes: Sequence[str], family: str, seeds: int) -> Iterator[Cell]:
    for seed, recipe, data, (cnn, norms), batch_size in itertools.product(
        range(seeds), recipes, ("gestures", "fights"), CNNS.items(), (8, 4)
    ):
        for batch_norm in norms:
            yield Cell(recipe, data, f"{family}_{cnn}", batch_norm, batch_size, seed)


def _train(cell: Cell, manifests: tuple[Path, Path], weights: Path, folder: Path, overrides: Sequence[str]) -> Fit:
    train_csv, again_csv = manifests
    settings = [
        *SMALL,
        f"model.backbone_weights={weights}" if "efficientnet" in cell.model else "model.pretrained=false",
        f"data.train={train_csv}",
        f"data.val={again_csv}",
        f"model.name={cell.model}",
        f"training.batch_norm={cell.batch_norm}",
        f"training.batch_size={cell.batch_size}",
        f"training.seed={cell.seed}",
        "training.evaluate_every=1",
        *overrides,
    ]
    watcher = Watcher()
    shutil.rmtree(folder, ignore_errors=True)
    config = load_config(find_recipe(cell.recipe), settings)
    with contextlib.suppress(TrainingStopped):
        train(config, folder, progress=watcher, should_stop=watcher.is_enough)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    warnings = Counter(line["what"] for line in lines if line["kind"] == "warning")
    return Fit(cell, len(watcher.top1), round(watcher.top1[-1], 3), dict(warnings))


def _read(path: Path) -> list[Fit]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = map(json.loads, lines)
    return [Fit(Cell(**each["cell"]), each["epochs"], each["top1"], each["warnings"]) for each in found]


def _print(found: Sequence[Fit]) -> None:
    """A row for each recipe, set, model and way of batch norm: its cells, those that fit, and the rest."""
    rows: dict[tuple[str, ...], list[Fit]] = defaultdict(list)
    for fit in found:
        rows[fit.cell.recipe, fit.cell.data, fit.cell.model, fit.cell.batch_norm].append(fit)
    header = ("recipe", "clips", "model", "batch norm", "cells", "fit", "epochs", "least top-1", "warnings")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for names, fits in rows.items():
        epochs = [fit.epochs for fit in fits if fit.top1 >= ENOUGH]
        warnings = sum((Counter(fit.warnings) for fit in fits), Counter[str]())
        cells = (
            *names,
            len(fits),
            len(epochs),
            f"{min(epochs)} to {max(epochs)}" if epochs else "-",
            f"{100 * min(fit.top1 for fit in fits):.1f}",
            ", ".join(f"{number} {kind}" for kind, number in warnings.items()) or "none",
        )
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    sys.exit(main())
