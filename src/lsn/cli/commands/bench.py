"""`lsn bench` and `lsn data bench`: how fast a model is on this machine, and what a training waits for."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from lsn import __version__
from lsn.cli.ui.console import columns, format_bytes, output
from lsn.cli.ui.progress import counting_progress
from lsn.config import load_config
from lsn.config.recipes import find_recipe
from lsn.errors import ConfigError
from lsn.inference.runtimes.names import RuntimeName

if TYPE_CHECKING:
    from rich.table import Table

    from lsn.profiling import Bench, Figure


def bench(
    model: str,
    /,
    *videos: str,
    batch_size: int = 4,
    num_frames: int | None = None,
    size: int | None = None,
    precision: Literal["float32", "bf16", "fp16"] = "float32",
    runtime: RuntimeName = "pytorch",
    device: str = "auto",
    seconds: float = 5.0,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Measure how fast a model is on this machine.

    In training, in evaluation, on a stream, and in reading videos.

    Parameters
    ----------
    model
        A weights folder, or a name of `lsn models`.
    videos
        Videos to read; without any, a synthetic one.
    batch_size
        Clips a pass in training and test.
    num_frames
        Frames per clip; by default those of the model.
    size
        Side of the frames, in pixels; by default that of the weights, or 224.
    precision
        Of training.
    runtime
        pytorch, compiled, or onnx or openvino, as lsn export wrote it into the weights.
    device
        cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.
    seconds
        Time for each part, at least.
    json_
        One JSON object instead of the table.
    """
    from lsn.hardware import resolve_device
    from lsn.inference.runtimes.opening import device_of
    from lsn.profiling import Bench

    what = Bench(
        model,
        device=str(resolve_device(device_of(model, runtime, device))),
        batch_size=batch_size,
        num_frames=num_frames,
        size=size,
        precision=precision,
        runtime=runtime,
        videos=videos,
        seconds=seconds,
    )
    what.load()  # says it now if it cannot
    (_print_json if json_ else _print_table)(what)


def _print_json(what: Bench) -> None:
    machine, settings, figures = _machine(what.device), asdict(what), [asdict(figure) for figure in _measured(what)]
    print(json.dumps({"machine": machine, "settings": settings, "figures": figures}))


def _print_table(what: Bench) -> None:

    about = ", ".join(f"{name} {value}" for name, value in _machine(what.device).items())
    console = output()
    console.print(f"{what.model} on {about}; {what.runtime}, {what.precision} in training\n")
    figures = _measured(what)
    console.print(_table(figures))
    if "stream" not in {figure.part for figure in figures}:
        console.print(f"\n{what.model} looks ahead, so it cannot stream.")


def _measured(what: Bench) -> list[Figure]:
    """The figures of all parts that the model has."""
    from lsn.profiling import PARTS, measure

    figures = []
    with counting_progress("parts measured") as progress:
        for number, part in enumerate(PARTS, start=1):
            if (figure := measure(what, part)) is not None:
                figures.append(figure)
            progress(number, len(PARTS))
    return figures


def bench_data(
    data: str,
    /,
    *overrides: str,
    recipe: str = "default",
    num_clips: int = 64,
    seconds: float = 5.0,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Measure what a training waits for: disk, decoding, transform or model; and advise what to change.

    Parameters
    ----------
    data
        Manifest or folder of class folders to train on.
    overrides
        Changes to the recipe, such as model.name=lsn_resnet18 data.num_workers=4.
    recipe
        A name of `lsn recipes`, or your own YAML file.
    num_clips
        Clips to look at, at most.
    seconds
        Time for the training steps, at least.
    json_
        One JSON object instead of the table.
    """
    if num_clips < 1:
        raise ConfigError(f"--num-clips is {num_clips}; it must be at least 1")
    config = load_config(find_recipe(recipe), [f"data.train={json.dumps(data)}", *overrides])
    from lsn.profiling.data import measure_data

    figures = measure_data(config, num_clips=num_clips, seconds=seconds)
    if json_:
        figures_and_advice = asdict(figures) | {"bottleneck": figures.bottleneck, "advice": figures.advice()}
        print(json.dumps({"machine": _machine(figures.device), **figures_and_advice}))
        return
    table = columns("Part", "Rate", "A clip", right=("Rate", "A clip"))
    for work, milliseconds in figures.ms_a_clip.items():
        table.add_row(f"{work}, one process", f"{1000 / milliseconds:.3g} clips/s", f"{milliseconds:.2f} ms")
    for name, rate in (
        (f"reading, data.num_workers={figures.num_workers}", figures.read_per_second),
        (f"training on {figures.device}", figures.trained_per_second),
    ):
        table.add_row(name, f"{rate:.3g} clips/s", f"{1000 / rate:.2f} ms")
    console = output()
    console.print(f"{config.model.name} by {recipe}, {figures.num_clips} clips of {data}\n")
    console.print(table)
    console.print(f"\nBottleneck: {figures.bottleneck}", style="bold")
    for line in figures.advice():
        console.print(line)


def _table(figures: list[Figure]) -> Table:
    numbers = ("Rate", "Median", "95%", "99%", "Peak memory")
    table = columns("Part", "One run", *numbers, right=numbers)
    for figure in figures:
        times = ("-" if t is None else f"{t:.1f} ms" for t in (figure.p50_ms, figure.p95_ms, figure.p99_ms))
        memory = "-" if figure.peak_bytes is None else format_bytes(figure.peak_bytes)
        table.add_row(figure.part, figure.what, f"{figure.per_second:.3g} {figure.unit}/s", *times, memory)
    return table


def _machine(device: str) -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "lsn": __version__,
    }
