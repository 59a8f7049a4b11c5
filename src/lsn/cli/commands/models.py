"""`lsn models` and `lsn cost`: which networks there are, and what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsn.cli.ui.console import columns, format_bytes, output
from lsn.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from lsn.models import Recognizer
    from lsn.models.cost import ModelCost


def models(filter: str = "", /, *, starters: bool = False) -> None:
    """List the models and what their names stand for.

    Parameters
    ----------
    filter
        Part of a name, or a pattern such as 'lsn_*50'.
    starters
        Show the starter weights instead, which come with LSN and find events right after the installation.
    """
    if starters:
        _list_starters()
        return
    from lsn.models.factory import FAMILIES, TESTED_CNNS, list_models

    parts = {f"{family}_{cnn}": (cnn, *FAMILIES[family].values()) for family in FAMILIES for cnn in TESTED_CNNS}
    names = list_models(filter)
    if not names:
        raise ModelError(f"no model is called like {filter!r}; `lsn models` lists all")
    table = columns("Model", "CNN", "Memory", "Shift")
    for name in names:
        table.add_row(name, *parts[name])
    console = output()
    console.print(table)
    if not filter:
        console.print("\nThese are tested; the same prefixes work with any CNN of timm that names its stages.")


def _list_starters() -> None:
    from lsn.config.json_files import STARTER_PREFIX
    from lsn.models.starters.cards import STARTERS
    from lsn.models.weights import load_weights

    console = output()
    for name, card in STARTERS.items():
        weights = f"{STARTER_PREFIX}{name}"
        loaded = load_weights(weights)
        num_parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
        rate = "" if loaded.frame_rates is None else f", {loaded.frame_rates.median:g} frames per second"
        console.print(f"{weights}", style="bold")
        console.print(f"  finds {card.what}: {', '.join(loaded.labels[1:])}")
        console.print(
            f"  {loaded.model.name}, {num_parameters:,} parameters, frames of {loaded.input.size} pixels{rate}"
        )
        for what, value in card.measured:
            console.print(f"  {what}: {value}")
        console.print(f"  made by `{card.data}` and `lsn train {card.recipe}`, or `lsn reproduce starters {name}`")
        console.print(f"  try `lsn stream {weights} 0`, or start from it: model.initial_weights={weights}\n")


def cost(
    model: str,
    /,
    *,
    num_frames: int | None = None,
    size: int = 224,
    num_classes: int = 174,
) -> None:
    """Count what a model takes for a clip, stage by stage.

    Parameters, multiply-adds, bytes of activations (float32) and bytes of state carried from frame to frame.

    Parameters
    ----------
    model
        A name of `lsn models`, or a weights folder.
    num_frames
        Frames of the clip; by default 16, or what the weights were trained with.
    size
        Side of the frames, in pixels.
    num_classes
        Classes of the classifier; weights have their own.
    """
    for flag, value in (("--num-frames", num_frames), ("--size", size), ("--num-classes", num_classes)):
        if value is not None and value < 1:
            raise ConfigError(f"{flag} is {value}; it must be at least 1")
    from lsn.models.cost import model_cost

    network = _network(model, num_classes)
    frames = num_frames or network.num_frames
    console = output()
    console.print(f"{network.name}: one clip of {frames} frames of {size}x{size}, {network.num_classes} classes\n")
    total = model_cost(network, height=size, width=size, num_frames=frames)
    _print_stages(total)
    _print_ratio(network, total, size, frames)


def _network(model: str, num_classes: int) -> Recognizer:
    from lsn.models import create_model
    from lsn.models.weights import is_weights_folder, load_weights

    if is_weights_folder(model):
        return load_weights(model).model
    return create_model(model, num_classes=num_classes)


def _print_stages(total: ModelCost) -> None:
    numbers = ("Parameters", "GMACs", "Activations", "State")
    table = columns("Stage", "Output", *numbers, right=numbers)
    for stage in total.stages:
        table.add_row(
            stage.name,
            "x".join(map(str, stage.output_shape)),
            *_cells(stage.parameters, stage.macs, stage.activation_bytes, stage.state_bytes),
        )
    table.add_section()
    sums = _cells(total.parameters, total.macs, total.activation_bytes, total.state_bytes)
    table.add_row("total", "", *sums, style="bold")
    output().print(table)


def _cells(parameters: int, macs: int, activation_bytes: int, state_bytes: int) -> tuple[str, ...]:
    return f"{parameters:,}", f"{macs / 1e9:.3f}", format_bytes(activation_bytes), format_bytes(state_bytes)


def _print_ratio(network: Recognizer, total: ModelCost, size: int, num_frames: int) -> None:
    from lsn.models import create_model
    from lsn.models.cost import model_cost

    if not network.memory:
        return
    plain = create_model(**network.arguments | {"memory": "none", "shift": "none"})
    base = model_cost(plain, height=size, width=size, num_frames=num_frames)
    output().print(
        f"\nBeside the same CNN without memory: {total.macs / base.macs:.3f}x the multiply-adds, "
        f"{total.parameters / base.parameters:.3f}x the parameters."
    )
