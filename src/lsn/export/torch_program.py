"""Programs of torch.export, run to be compared.

They are zip files whose tensors PyTorch may unpickle, so LSN runs those alone that it has just written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsn.inference.runtimes.graph import GraphRuntime


class TorchProgramRuntime(GraphRuntime):
    """A `Runtime` of programs of torch.export, on the CPU; see `GraphRuntime`. PyTorch's threads are as they are."""

    target = "torch"
    library = "torch"

    def _load(self, path: Path) -> Any:
        return torch.export.load(str(path)).module()

    def _run(self, graph: Any, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        with torch.inference_mode():
            found = graph({name: torch.from_numpy(array) for name, array in inputs.items()})
        return [found[name].numpy() for name in outputs]
