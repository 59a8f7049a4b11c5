"""Exported graphs under OpenVINO, without PyTorch."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lsn.hardware import num_threads
from lsn.inference.runtimes.graph import FRAMES, LOGITS, GraphRuntime, import_library


class OpenVinoRuntime(GraphRuntime):
    """A `Runtime` of OpenVINO's graphs, on the CPU; see `GraphRuntime`.

    Args:
        folder: as of `GraphRuntime`.
        num_threads: likewise.
        cache: folder in which OpenVINO keeps what it compiles, so that the next process starts sooner.
    """

    target = "openvino"
    library = "openvino"

    def __init__(self, folder: str | Path, *, num_threads: int | None = None, cache: Path | None = None) -> None:
        super().__init__(folder, num_threads=num_threads)
        self._cache = cache

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
        settings = {
            "INFERENCE_NUM_THREADS": self.num_threads or num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # by itself it computes in bfloat16 where the processor can
        }
        if self._cache is not None and _is_writable(self._cache):
            # Without the weights, which stand in the export: a megabyte instead of hundreds.
            settings |= {"CACHE_DIR": str(self._cache), "CACHE_MODE": "OPTIMIZE_SIZE"}
        return _core().compile_model(str(path), "CPU", settings).create_infer_request()

    def _run(self, graph: Any, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        found = graph.infer(dict(inputs), share_inputs=True)
        return [found[name].copy() for name in outputs]


@functools.cache
def _core() -> Any:
    """OpenVINO's core, one for the process and never freed.

    Its CPU plugin gives the thread that loads it a stack for signals. When another thread frees the last of it, it
    frees that stack but not its use, and the next signal (Ctrl-C, or a child that ends) crashes the process.
    """
    return import_library("openvino").Core()


def _is_writable(folder: Path) -> bool:
    """Whether files can be written into a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
