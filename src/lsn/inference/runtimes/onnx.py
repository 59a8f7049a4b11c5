"""Exported graphs under ONNX Runtime, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lsn.hardware import num_threads
from lsn.inference.runtimes.graph import GraphRuntime, import_library


class OnnxRuntime(GraphRuntime):
    """A `Runtime` of ONNX graphs, on the CPU; see `GraphRuntime`."""

    target = "onnx"
    library = "onnxruntime"

    def _load(self, path: Path) -> Any:
        onnxruntime = import_library(self.library)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads or num_threads()
        # Threads that spin while they wait would take the cores from those that decode video.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def _run(self, graph: Any, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        return graph.run(list(outputs), dict(inputs))
