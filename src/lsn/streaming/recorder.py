"""Streams as video: the frames that the model was given, with its answers drawn on them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from lsn.errors import VideoError
from lsn.streaming.prediction import StreamPrediction
from lsn.video import VideoWriter
from lsn.video.writing.overlay import Panel, enlargement


class StreamRecorder:
    """Writes the answers of one stream into an .mp4 file, which appears when the block ends.

    What was seen up to an error in the block is kept too, unless it is the file that could not be written.

    One picture an answer, at the rate of the answers; gaps are left out, and the time is written on the pictures.
    Frames of another size than the first are brought to its size.

    Args:
        path: the file, ending in .mp4.
        fps: answers per second.
    """

    def __init__(self, path: str | Path, *, fps: float) -> None:
        self.path = Path(path)
        self._fps = fps
        self._size = (0, 0)
        self._writer: VideoWriter | None = None
        self._panel: Panel | None = None
        self._failure: VideoError | None = None

    def write(self, answer: StreamPrediction) -> None:
        """Adds an answer.

        Raises:
            VideoError: the file cannot be written.
        """
        picture = Image.fromarray(answer.frame_HWC)
        if self._writer is None or self._panel is None:
            factor = enlargement(*picture.size)
            self._size = width, height = factor * picture.width, factor * picture.height
            self._writer = VideoWriter(self.path, fps=self._fps, width=width, height=height).__enter__()
            self._panel = Panel(answer.labels, width=width, height=height)
        if picture.size != self._size:
            picture = picture.resize(self._size, Image.Resampling.BICUBIC)
        self._panel.draw(picture, answer.probabilities, f"{answer.seconds:.1f} s")
        try:
            self._writer.write(np.asarray(picture))
        except VideoError as error:
            self._failure = error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        if self._failure is None:
            self._writer.__exit__(None, None, None)
        else:
            self._writer.__exit__(VideoError, self._failure, self._failure.__traceback__)
