"""What the runtimes of exported graphs have in common; none needs PyTorch.

Shapes: B streams or clips, T frames, C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lsn.errors import ConfigError, LSNError, ModelError
from lsn.inference.runtimes.description import ExportDescription, Target, check_graphs, read_description
from lsn.tensor_file import TensorKind

CLIP, FRAMES, LOGITS = "clip", "frames", "logits"
"""Names of inputs and outputs, besides those of the states."""


class GraphRuntime(ABC):
    """A `Runtime` of graphs that `lsn export` wrote.

    Args:
        folder: with an `export.json`.
        num_threads: of the library; by default as many as PyTorch would have, see `lsn.hardware.num_threads`.

    Raises:
        WeightsError: there is no such export, or it is not as it was written.
        ConfigError: the library is not installed, or the export is for another one.
    """

    target: Target
    """Whose graphs it runs."""
    library: str
    """What runs them."""

    def __init__(self, folder: str | Path, *, num_threads: int | None = None) -> None:
        self.folder, self.num_threads = Path(folder), num_threads
        import_library(self.library)
        self.description = read_description(folder)
        check_graphs(self.folder, self.description)
        if self.description.target != self.target:
            raise ConfigError(
                f"{folder}: an export for {self.description.target}, not for {self.target}; export again with "
                f"--to {self.target}"
            )
        self._loaded: dict[str, Any] = {}

    @property
    def network(self) -> ExportDescription:
        """As of `Runtime`."""
        return self.description

    @property
    def height(self) -> int:
        """Of the frames, in pixels."""
        return self.description.input.size

    @property
    def width(self) -> int:
        """Of the frames, in pixels."""
        return self.description.input.size

    @property
    def fingerprint(self) -> str:
        """As of `Runtime`."""
        return self.description.fingerprint

    @property
    def state_kinds(self) -> Mapping[str, TensorKind]:
        """As of `Runtime`."""
        return self.description.state_kinds

    def allocate(self, num_rows: int) -> ArrayStates:
        """As of `Runtime`.

        Raises:
            ModelError: the model cannot stream.
        """
        if self.description.step is None:
            raise self._cannot_stream()
        self.loaded(self.description.step.file)
        return ArrayStates(self, num_rows)

    def forward_frames(self, clips_BTCHW: np.ndarray) -> np.ndarray:
        """Class scores of every frame of clips of any length, float32 BTK; of a model that cannot stream, of its own.

        Args:
            clips_BTCHW: uint8 RGB.

        Raises:
            ModelError: the clips are of another length or size than the graph takes.
        """
        self._check_clips(clips_BTCHW)
        if clips_BTCHW.shape[1] == self.description.num_frames:
            (logits_BTK,) = self.run(self.description.clip.file, {CLIP: clips_BTCHW}, [LOGITS])
            return logits_BTK
        states = self.allocate(len(clips_BTCHW))
        rows = range(len(clips_BTCHW))
        return np.stack([states.step(rows, clips_BTCHW[:, t]) for t in range(clips_BTCHW.shape[1])], axis=1)

    def run(self, file: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Runs a graph of the folder; arrays in the order of `outputs`.

        Raises:
            ModelError: the library cannot load or run it.
        """
        graph = self.loaded(file)
        with self._explained(file):
            return self._run(graph, inputs, outputs)

    def loaded(self, file: str) -> Any:
        """The library's object for a graph of the folder, which is loaded once.

        Raises:
            ModelError: the library cannot load it.
        """
        if file not in self._loaded:
            with self._explained(file):
                self._loaded[file] = self._load(self.folder / file)
        return self._loaded[file]

    @contextmanager
    def _explained(self, file: str) -> Iterator[None]:
        """Says whose error it is; libraries raise what they like."""
        try:
            yield
        except LSNError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ModelError(
                f"{self.folder / file}: {self.library} cannot run it ({reason}); use the versions that export.json "
                "names, or export again"
            ) from error

    def _cannot_stream(self) -> ModelError:
        return ModelError(
            f"{self.description.name} cannot stream: its shift looks one frame ahead; it answers clips alone"
        )

    @abstractmethod
    def _load(self, path: Path) -> Any:
        """The library's object for a graph."""

    @abstractmethod
    def _run(self, graph: Any, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Runs it; the arrays belong to whoever called."""

    def _check_clips(self, clips_BTCHW: np.ndarray) -> None:
        about = self.description
        shape, size = clips_BTCHW.shape, about.input.size
        if clips_BTCHW.dtype != np.uint8 or len(shape) != 5 or shape[2:] != (3, size, size) or 0 in shape:
            raise ModelError(
                f"clips are {clips_BTCHW.dtype} {shape}; expected uint8 (batch, frames, 3, {size}, {size}), as exported"
            )
        if about.step is None and shape[1] != about.num_frames:
            raise ModelError(f"clips of {shape[1]} frames; {about.name} was exported for {about.num_frames}")


class ArrayStates:
    """`StreamStates` in arrays of NumPy."""

    def __init__(self, runtime: GraphRuntime, num_rows: int) -> None:
        assert runtime.description.step is not None
        self._runtime, self._file = runtime, runtime.description.step.file
        self._states = runtime.description.states
        self._arrays = {state.name: np.zeros((num_rows, *state.shape), state.dtype) for state in self._states}

    @property
    def num_bytes(self) -> int:
        """As of `StreamStates`."""
        return sum(array.nbytes for array in self._arrays.values())

    def clear(self, row: int) -> None:
        """As of `StreamStates`."""
        for array in self._arrays.values():
            array[row] = 0

    def read(self, row: int) -> dict[str, np.ndarray]:
        """As of `StreamStates`."""
        return {name: array[row : row + 1].copy() for name, array in self._arrays.items()}

    def write(self, row: int, state: Mapping[str, np.ndarray]) -> None:
        """As of `StreamStates`."""
        for name, array in self._arrays.items():
            array[row] = state[name][0]

    def step(self, rows: Sequence[int], frames_BCHW: np.ndarray) -> np.ndarray:
        """As of `StreamStates`."""
        index = np.array(rows)
        before = {state.input: self._arrays[state.name][index] for state in self._states}
        logits_BK, *after = self._runtime.run(
            self._file, {FRAMES: frames_BCHW, **before}, [LOGITS, *(state.output for state in self._states)]
        )
        finite = np.isfinite(logits_BK).all(axis=1)
        for state, array in zip(self._states, after, strict=True):
            self._arrays[state.name][index[finite]] = array[finite]
        return logits_BK


def import_library(name: str) -> Any:
    """A library of the extra `export`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{name} is not installed ({error}); install it: pip install 'lsn-video[export]'") from error
