"""Exported graphs under OpenVINO, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lsn.hardware import num_threads
from lsn.inference.runtimes.graph import FRAMES, LOGITS, GraphRuntime, import_library


class OpenVinoRuntime(GraphRuntime):
    """A `Runtime` of OpenVINO's graphs, on the CPU; see `GraphRuntime`."""

    target = "openvino"
    library = "openvino"

    def stream(self, frames_TCHW: np.ndarray) -> np.ndarray:
        """Class scores after each frame of one stream from its beginning, TK, by the graph that keeps the state itself.

        Args:
            frames_TCHW: uint8 RGB.

        Raises:
            ModelError: the model cannot stream.
        """
        graph = self.description.stateful_step
        if graph is None:
            raise self._cannot_stream()
        self.loaded(graph.file).reset_state()
        return np.stack([self.run(graph.file, {FRAMES: frame_CHW[None]}, [LOGITS])[0][0] for frame_CHW in frames_TCHW])

    def _load(self, path: Path) -> Any:
        openvino = import_library(self.library)
        settings = {
            "INFERENCE_NUM_THREADS": self.num_threads or num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # by itself it computes in bfloat16 where the processor can
        }
        return openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()

    def _run(self, graph: Any, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        found = graph.infer(dict(inputs), share_inputs=True)
        return [found[name].copy() for name in outputs]
