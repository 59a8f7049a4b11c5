"""What streams need of a model, whoever computes it. Arrays are NumPy's.

Shapes: B streams, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from lsn.tensor_file import TensorKind


class StreamStates(Protocol):
    """The states of a fixed number of streams, one row each, kept where the model computes."""

    @property
    def num_bytes(self) -> int:
        """Memory of all rows."""

    def clear(self, row: int) -> None:
        """Sets a row to the state before the first frame."""

    def read(self, row: int) -> dict[str, np.ndarray]:
        """A copy of a row: an array with a first dimension of 1 for each tensor of the state."""

    def write(self, row: int, state: Mapping[str, np.ndarray]) -> None:
        """Replaces a row by one that `read` gave and that fits `Runtime.state_kinds`."""

    def step(self, rows: Sequence[int], frames_BCHW: np.ndarray) -> np.ndarray:
        """Advances rows by a frame each; a row whose scores are not finite stays as it was.

        Args:
            rows: different ones, B in all.
            frames_BCHW: uint8 RGB, in the order of the rows.

        Returns:
            float32 BK: the class scores after the frame.
        """


class Runtime(Protocol):
    """A causal model for frames of one size, ready to run.

    Models may be run from one thread at a time.
    """

    @property
    def name(self) -> str:
        """Of the model, such as `lsn_resnet50`."""

    @property
    def height(self) -> int:
        """Of the frames, in pixels."""

    @property
    def width(self) -> int:
        """Of the frames, in pixels."""

    @property
    def fingerprint(self) -> str:
        """A hash of the weights: states continue under the same weights alone, in any runtime."""

    @property
    def state_kinds(self) -> Mapping[str, TensorKind]:
        """Type and shape of each tensor of the state of one stream, with a first dimension of 1."""

    def allocate(self, num_rows: int) -> StreamStates:
        """Memory for the states of so many streams, cleared."""
