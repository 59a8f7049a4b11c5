"""`lsn bench`: how fast a model is on this machine."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from lsn import __version__
from lsn.cli.console import columns, format_bytes, output
from lsn.cli.progress import counting_progress

if TYPE_CHECKING:
    from rich.table import Table

    from lsn.bench import Figure


def bench(
    model: str,
    /,
    *videos: str,
    batch_size: int = 4,
    num_frames: int | None = None,
    size: int | None = None,
    precision: Literal["float32", "bf16", "fp16"] = "float32",
    compile: bool = False,
    device: str = "auto",
    seconds: float = 5.0,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Measure how fast a model is on this machine: in training, in test, on a stream, and in reading videos.

    Parameters
    ----------
    model
        A weights folder, or a name of `lsn models`.
    videos
        Videos to read; without any, a synthetic one.
    batch_size
        Clips a pass in training and test.
    num_frames
        Frames a clip; by default those of the model.
    size
        Side of the frames, in pixels; by default that of the weights, or 224.
    precision
        Of training.
    compile
        Run the network through PyTorch's compiler.
    device
        cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.
    seconds
        Time for each part, at least.
    json_
        One JSON object instead of the table.
    """
    from lsn.bench import PARTS, Bench, measure
    from lsn.inference.device import resolve_device

    what = Bench(
        model,
        device=str(resolve_device(device)),
        batch_size=batch_size,
        num_frames=num_frames,
        size=size,
        precision=precision,
        compile=compile,
        videos=videos,
        seconds=seconds,
    )
    what.load()  # says it now if it cannot
    console, machine = output(), _machine(what.device)
    if not json_:
        about = ", ".join(f"{name} {value}" for name, value in machine.items())
        console.print(f"{model} on {about}; {precision} in training{', compiled' if compile else ''}\n")
    figures = []
    with counting_progress("parts measured") as progress:
        for number, part in enumerate(PARTS, start=1):
            if (figure := measure(what, part)) is not None:
                figures.append(figure)
            progress(number, len(PARTS))
    if json_:
        print(json.dumps({"machine": machine, "settings": asdict(what), "figures": [asdict(f) for f in figures]}))
        return
    console.print(_table(figures))
    if len(figures) < len(PARTS):
        console.print(f"\n{model} looks ahead, so it cannot stream.")


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
