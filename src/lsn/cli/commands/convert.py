"""`lsn convert`: weights folders from the checkpoints of others."""

from __future__ import annotations

from pathlib import Path

from lsn.cli.ui.console import columns, output
from lsn.errors import WeightsError

MAX_NAMED = 3


def convert(
    checkpoint: Path,
    /,
    *,
    model: str,
    labels: Path,
    out: Path,
    num_frames: int = 16,
) -> None:
    """Make a weights folder from a published checkpoint.

    Reads torchvision's ResNets and the checkpoints of TSN's and TSM's code (.pth, .pth.tar, .safetensors), without
    running code that they may hold. The folder is for lsn predict and lsn evaluate if everything was found and the
    model shifts what the checkpoint shifted, else for model.initial_weights of a training; the last line says which.

    Parameters
    ----------
    checkpoint
        The file.
    model
        What it becomes: tsm_resnet50 for a TSM, or lsn_ss_resnet50, whose memory is then new.
    labels
        File with the names of the model's classes, one a line, in the order of the checkpoint's classifier. With
        another number of classes the classifier is new.
    out
        New weights folder.
    num_frames
        Frames per clip.
    """
    from lsn.config import InputConfig
    from lsn.data import read_labels
    from lsn.models.convert import convert_checkpoint
    from lsn.models.weights import save_weights

    if out.exists():
        raise WeightsError(f"{out}: exists; choose another folder, or delete it")
    names = read_labels(labels)
    done = convert_checkpoint(checkpoint, name=model, num_classes=len(names), num_frames=num_frames)
    save_weights(out, done.model, labels=names, input=InputConfig(), metrics={}, untrained=done.fresh)
    table = columns("Tensors", "", "for example", right=("Tensors",))
    for tensors, what in (
        (done.used, "used"),
        (done.unused, "of the checkpoint not used"),
        (done.fresh, f"of {model} new, with random values"),
    ):
        table.add_row(str(len(tensors)), what, ", ".join(tensors[:MAX_NAMED]))
    console = output()
    console.print(table)
    if not done.same_shift:
        console.print(f"\nThe checkpoint's network shifts other convolutions than {model}: its scores would be others.")
    if done.fresh or not done.same_shift:
        changes = f"model.name={model} model.initial_weights={out}"
        console.print(f"\nTrain before use: lsn train RECIPE {changes}")
    else:
        console.print(f"\nTry it: lsn predict {out} VIDEO")
