"""A runtime without a library: it adds up brightness, and counts frames."""

from pathlib import Path

import numpy as np

from lsn.config import EvaluationConfig, FrameRates, InputConfig
from lsn.inference.runtimes.description import ExportDescription, StateTensor, describe_graph, write_description
from lsn.inference.runtimes.graph import GraphRuntime

SIZE = 4
SUM_LABELS = ("sum", "seen")


class SumRuntime(GraphRuntime):
    target = "onnx"
    library = "numpy"

    def _load(self, path):
        return path.name

    def _run(self, graph, inputs, outputs):
        if graph == "clip.onnx":
            sums = inputs["clip"].astype(np.float32).mean(axis=(2, 3, 4)).cumsum(axis=1)
            return [np.stack([sums, np.broadcast_to(np.arange(1.0, sums.shape[1] + 1), sums.shape)], axis=2)]
        total = inputs["state_00_in"] + inputs["frames"].astype(np.float32).mean(axis=(1, 2, 3))[:, None]
        total = np.where(inputs["frames"].min(axis=(1, 2, 3))[:, None] == 255, np.nan, total)
        seen = inputs["state_01_in"] + 1
        found = {"logits": np.stack([total[:, 0], seen], axis=1), "state_00_out": total, "state_01_out": seen}
        return [found[name].astype(np.int64 if name == "state_01_out" else np.float32) for name in outputs]


def write_sum_export(folder: Path, *, weights_sha256: str = "0") -> None:
    """What `lsn export --to onnx` would have written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("clip.onnx", "step.onnx"):
        (folder / name).write_bytes(name.encode())
    description = ExportDescription(
        target="onnx",
        name="lsn_sum",
        fingerprint="0",
        weights_sha256=weights_sha256,
        labels=SUM_LABELS,
        input=InputConfig(size=SIZE, short_side=SIZE),
        num_frames=3,
        readout_frames=None,
        multi_label=False,
        frame_rates=FrameRates(5, 10, 20),
        events=None,
        validation_threshold=0.8,
        evaluation=EvaluationConfig(num_clips=2),
        clip=describe_graph(folder / "clip.onnx"),
        step=describe_graph(folder / "step.onnx"),
        stateful_step=None,
        states=(
            StateTensor("total", "state_00_in", "state_00_out", (1,), "float32", "the sum"),
            StateTensor("num_frames", "state_01_in", "state_01_out", (), "int64", "frames"),
        ),
    )
    write_description(folder, description)
