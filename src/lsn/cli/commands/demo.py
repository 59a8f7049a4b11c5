"""`lsn demo`: everything once, on videos that it writes itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lsn.cli.commands.predict import print_prediction
from lsn.cli.commands.train import train_and_report
from lsn.cli.signals import first_signal_asks
from lsn.cli.ui.console import columns, output, percent
from lsn.cli.ui.progress import counting_progress, duration
from lsn.config import RunConfig, load_config, to_yaml
from lsn.config.recipes import find_recipe
from lsn.errors import ConfigError, LSNError
from lsn.files import held_lock, write_text

if TYPE_CHECKING:
    from lsn.data.synthetic import SyntheticSet

NUM_TRAIN, NUM_VAL = 1000, 200
NUM_WORKERS = 2


def demo(*, out: Path = Path("runs/demo")) -> None:
    """Train a small LSN on videos that it writes itself; takes minutes.

    Writes synthetic videos, trains an LSN and a TSN control on them, compares the two, and predicts one video. Needs
    neither data nor network. The ten classes are five pairs of motions that are exact time-reversals of each other:
    only a model that knows the order of frames can tell them apart, so the control cannot get above one half.

    Parameters
    ----------
    out
        Where everything goes. The models of an earlier demo there are replaced; its videos are used again.
    """
    start = time.monotonic()
    lsn_config, tsn_config = _configs(out)
    folders = {"lsn": out / "lsn", "tsn": out / "tsn"}
    _remove_earlier(out, folders.values())

    _heading("1/3  Writing the videos")
    videos = _write_videos(out / "data")
    names = lsn_config.model.name, tsn_config.model.name
    _heading(f"2/3  Training {names[0]}, a CNN with a memory, and beside it {names[1]}, the same CNN without")
    with _trained_beside(tsn_config, folders["tsn"], log=out / "tsn.log") as wait_for_control:
        train_and_report(lsn_config, folders["lsn"], way_on="the same command starts again from the beginning")
        wait_for_control()
    models = [
        {"name": config.model.name, "top1": _metrics(folder)["top1"]}
        for config, folder in zip((lsn_config, tsn_config), folders.values(), strict=True)
    ]
    _heading("3/3  What the LSN sees in one of the videos that it was not trained on")
    video = _predict_one(folders["lsn"], videos)
    seconds = round(time.monotonic() - start, 1)
    write_text(out / "summary.json", json.dumps({"models": models, "seconds": seconds}, indent=2) + "\n")
    _print_summary(models, out, seconds, video)


def _configs(out: Path) -> tuple[RunConfig, RunConfig]:
    """The demo's recipe on the demo's videos, with its LSN and with the TSN of the same CNN."""
    config = load_config(find_recipe("demo"))
    data = replace(config.data, train=str(out / "data/train.csv"), val=str(out / "data/val.csv"))
    config = replace(config, data=data)
    control = replace(config.model, name=f"tsn_{config.model.name.removeprefix('lsn_')}")
    return config, replace(config, model=control)


def _remove_earlier(out: Path, folders: Iterable[Path]) -> None:
    """Makes room for the demo's own runs; nothing is removed that does not look like a run."""
    earlier = [folder for folder in folders if (folder / "recipe.yaml").is_file()]
    if earlier:
        output().print(f"The models of an earlier demo in {out} are replaced.")
    for folder in earlier:
        with held_lock(folder) as is_held:
            if not is_held:
                raise ConfigError(
                    f"{folder}: another process trains in this folder; wait until it has ended, or choose another --out"
                )
            shutil.rmtree(folder)


def _write_videos(folder: Path) -> SyntheticSet:
    from lsn.data.synthetic import write_synthetic

    with counting_progress("writing videos") as progress:
        videos = write_synthetic(
            folder,
            kind="motion",
            num_train=NUM_TRAIN,
            num_val=NUM_VAL,
            num_workers=NUM_WORKERS,
            progress=progress,
        )
    output().print(f"{NUM_TRAIN} to train on and {NUM_VAL} to test on, in {folder}")
    output().print(f"Classes: {', '.join(videos.labels)}")
    return videos


@contextmanager
def _trained_beside(config: RunConfig, folder: Path, *, log: Path) -> Iterator[Callable[[], None]]:
    """Trains in a process of its own, on half of the cores, and leaves the other half to this process.

    A second thread brings a training of so small a network next to nothing. Yields a function that waits for the
    end; a training that is not waited for is stopped.
    """
    import torch

    num_threads = torch.get_num_threads()
    half = max(1, num_threads // 2)
    recipe = log.with_suffix(".yaml")
    write_text(recipe, to_yaml(config))
    command = [sys.executable, "-m", "lsn", "train", str(recipe), "--out", str(folder)]
    torch.set_num_threads(half)
    with log.open("w", encoding="utf-8") as lines, first_signal_asks(lambda: None) as raise_if_stopped:
        process = subprocess.Popen(
            command, stdout=lines, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": str(half)}
        )

    def wait() -> None:
        if process.wait() != 0:
            raise LSNError(f"{config.model.name} could not be trained; {log} says why")

    try:
        raise_if_stopped()  # not before there is somebody to end the process
        yield wait
    finally:
        process.terminate()
        process.wait()
        torch.set_num_threads(num_threads)


def _predict_one(weights: Path, videos: SyntheticSet) -> str:
    """Predicts the first test video; returns its path."""
    from lsn.data import read_manifest
    from lsn.inference.predictor import Predictor

    clip = read_manifest(videos.val).clips[0]
    prediction = Predictor(weights)(clip.path)
    print_prediction(prediction, clip.path, top=5)
    return clip.path


def _metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["metrics"]


def _heading(text: str) -> None:
    output().print(Text(f"\n{text}", style="bold"))


def _print_summary(models: list[dict[str, Any]], out: Path, seconds: float, video: str) -> None:
    console = output()
    table = columns("Model", "Top-1 on the test videos", right=("Top-1 on the test videos",))
    for model in models:
        table.add_row(model["name"], percent(model["top1"]))
    console.print(table)
    console.print(
        f"\nDone in {duration(seconds)}. Everything is in {out}; open {out / 'lsn/report.html'} in a browser."
        "\n\nNext, with your own videos, one folder per class (videos/jump/a.mp4, videos/run/b.mp4, ...):"
        "\n  lsn data check videos"
        "\n  lsn train data.train=videos --out runs/mine"
        "\n  lsn predict runs/mine VIDEO"
        f"\n\nOr watch the demo's model at work:"
        f"\n  lsn predict {out / 'lsn'} {video} --annotate seen.mp4"
    )
