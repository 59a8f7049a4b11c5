"""`lsn export`: trained weights as graphs for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lsn.cli.ui.console import columns, output


def export(
    weights: Path,
    /,
    *,
    to: Literal["onnx", "openvino", "torch"],
    out: Path | None = None,
    video: str | None = None,
) -> None:
    """Write trained weights as graphs that run without LSN.

    One graph is a step of streams, whose memory goes in and comes out; one is a clip. Both take bytes and normalise
    them. They are compared with PyTorch before the folder appears: clips, steps, streams that join and leave, a
    thousand steps, and memory that moves between the two.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, or starter weights.
    to
        Format: onnx, openvino, or torch (a program of torch.export).
    out
        New folder; by default one inside the weights folder that is called like the format.
    video
        Video to compare on; by default noise.
    """
    from lsn.export.export import export_weights

    folder, description = export_weights(weights, to, out=out, video=video)
    table = columns("Against PyTorch", "Largest difference", "Allowed", right=("Largest difference", "Allowed"))
    for line in description.proof:
        table.add_row(line.check, f"{line.difference:.1e}", f"{line.limit:.0e}")
    console = output()
    console.print(table)
    graphs = [graph.file for graph in (description.step, description.stateful_step, description.clip) if graph]
    console.print(f"\n{folder}: {', '.join(graphs)}, described in export.json (differences: of the largest logit)")
