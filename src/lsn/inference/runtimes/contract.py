"""What clips and streams need of a model, whoever computes it. Arrays are NumPy's.

Shapes: B streams or clips, T frames, C = 3 channels, H height, W width, K classes.
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


class Network(Protocol):
    """What is known of a network without running it; a `Recognizer` is one."""

    @property
    def name(self) -> str:
        """Such as `lsn_resnet50`."""

    @property
    def num_frames(self) -> int:
        """Frames of the clips that it was trained on."""

    @property
    def num_classes(self) -> int:
        """Classes that it tells apart."""

    @property
    def readout_frames(self) -> int | None:
        """Last frames of a clip that its answer is the mean of; None for all."""

    @property
    def multi_label(self) -> bool:
        """Whether each class has a yes or no of its own."""

    @property
    def is_causal(self) -> bool:
        """Whether no frame knows those after it, so that it can stream."""


class Runtime(Protocol):
    """A model for frames of one size, ready to run, from one thread at a time."""

    @property
    def network(self) -> Network:
        """What it runs."""

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
        """Memory for the states of so many streams, cleared.

        Raises:
            ModelError: the model cannot stream.
        """

    def forward_frames(self, clips_BTCHW: np.ndarray) -> np.ndarray:
        """Class scores of every frame of clips, float32 BTK; in a causal model each knows the frames up to its own.

        Args:
            clips_BTCHW: uint8 RGB.

        Raises:
            ModelError: the clips are of another length or size than it takes.
        """


def forward_in_batches(runtime: Runtime, clips_NTCHW: np.ndarray, batch_size: int) -> np.ndarray:
    """`Runtime.forward_frames` over clips, at most `batch_size` in a pass: NTK."""
    starts = range(0, len(clips_NTCHW), batch_size)
    return np.concatenate([runtime.forward_frames(clips_NTCHW[start : start + batch_size]) for start in starts])
