"""One trained model, ready to say what happens in a video.

Shapes: V views, T frames, K classes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lsn.config import EvaluationConfig
from lsn.errors import ModelError
from lsn.evaluation.protocol import EvaluationProtocol, Views
from lsn.evaluation.top import top_labels
from lsn.inference.runtimes.contract import forward_in_batches
from lsn.inference.runtimes.names import RuntimeName
from lsn.inference.runtimes.opening import Weights, open_model
from lsn.inference.source import Video, open_source
from lsn.scores import clip_scores, running_clip_scores, softmax

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says about one video. Arrays are NumPy's."""

    video: str
    """Name of the video."""
    labels: tuple[str, ...]
    """Names of the K classes in label order."""
    probabilities: np.ndarray
    """float32, (K,): the answer, in label order; sums to 1."""
    frame_log_probabilities_TK: np.ndarray
    """float32: log-probabilities that each frame speaks for by itself, in the order of time."""
    frame_pts_seconds: np.ndarray
    """float64, (T,): when each of these frames is shown, on the clock of the file."""
    timings_ms: dict[str, float]
    """Milliseconds spent on `decode`, `transform` and `model`."""
    readout_frames: int | None = None
    """Last frames of a clip that the answer is the mean of; None for all."""

    @property
    def label(self) -> str:
        """The likeliest label."""
        return self.top(1)[0][0]

    @property
    def frame_probabilities_TK(self) -> np.ndarray:
        """float32: the softmax of each frame's own scores.

        In a causal model a frame knows the frames before it, in others some after it too. The frames of several
        clips stand in the order of time; crops are averaged.
        """
        return np.exp(self.frame_log_probabilities_TK)

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k likeliest labels (all, if there are fewer) with their probabilities, the likeliest first.

        Raises:
            ConfigError: k is under 1.
        """
        return top_labels(self.labels, self.probabilities, k)

    def cumulative_probabilities_TK(self) -> np.ndarray:
        """float32: the answer after each frame, from the frames up to and with it; every row sums to 1.

        It is the mean of the frames' scores, all or the last `readout_frames`, as the model itself takes it, so the
        last row is the answer (only close to it with `average: probabilities`, or with several clips and
        `readout_frames`).
        """
        return softmax(running_clip_scores(self.frame_log_probabilities_TK, self.readout_frames))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return {
            "video": self.video,
            "label": self.label,
            "top5": [{"label": label, "probability": probability} for label, probability in self.top(5)],
            "labels": list(self.labels),
            "probabilities": self.probabilities.tolist(),
            "frame_pts_seconds": self.frame_pts_seconds.tolist(),
            "frame_probabilities": self.frame_probabilities_TK.tolist(),
            "timings_ms": dict(self.timings_ms),
        }


class Predictor:
    """Says what happens in videos. Make it once and call it often: everything is loaded at the start.

    Args:
        weights: a weights folder (a run folder is one), the folder of an export, or a loaded model.
        runtime: what runs it: "pytorch", "compiled" (by PyTorch's compiler, at the first videos, which wait for it),
            "onnx" or "openvino" (as `lsn export` wrote it); by default PyTorch runs weights, and an export its own.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one; graphs run on the CPU.
        evaluation: views of a video and their average; by default one clip with one crop.
        reader: decoder of video files.

    Raises:
        WeightsError: there is no such folder, or it holds no weights of this version, or no export of them.
        ConfigError: there is no such runtime or device, or its library is not installed.
        ModelError: its events may overlap, so that a clip has no single answer.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        runtime: RuntimeName | None = None,
        device: str | torch.device = "auto",
        evaluation: EvaluationConfig | None = None,
        reader: Literal["pyav", "torchcodec"] = "pyav",
    ) -> None:
        ready = open_model(weights, runtime, device=device)
        self.runtime, self.labels = ready.runtime, ready.labels
        network = self.runtime.network
        if network.multi_label:
            raise ModelError(
                f"{network.name} finds events that may overlap, so a video has no single answer; use lsn timeline"
            )
        self.protocol = EvaluationProtocol.of(network, ready.input, evaluation or EvaluationConfig())
        self.reader: Literal["pyav", "torchcodec"] = reader

    def __call__(self, video: Video, *, fps: float | None = None) -> Prediction:
        """Predicts one video.

        Args:
            video: a video file, a folder of frames, the content of a video file, or uint8 RGB frames THWC.
            fps: frames per second, for what has no timestamps: needed for an array; folders have 30 by default.

        Raises:
            VideoError: the video cannot be read, or is not what it should be.
            ModelError: the model's scores are not finite.
        """
        start = time.perf_counter()
        with open_source(video, fps=fps, reader=self.reader) as reader:
            name = reader.info.name
            views = self.protocol.read(reader)
        decode_ms = 1000 * (time.perf_counter() - start - views.transform_seconds)
        return self.answer(name, views, decode_ms=decode_ms)

    def answer(self, name: str, views: Views, *, decode_ms: float = 0.0) -> Prediction:
        """Predicts a video whose views were read by `protocol.read`, maybe by another process.

        Args:
            name: of the video.
            views: what the model sees of it.
            decode_ms: what the answer says that decoding took.

        Raises:
            ModelError: the model's scores are not finite.
        """
        start = time.perf_counter()
        logits_VTK = forward_in_batches(self.runtime, views.views_VTCHW, self.protocol.batch_size)
        answered = time.perf_counter()  # the scores are on the CPU, so the device has finished
        if not np.isfinite(logits_VTK).all():
            raise ModelError(f"{name}: the model's scores are not finite; its weights are damaged")
        order, readout_frames = np.argsort(views.pts_seconds, kind="stable"), self.runtime.network.readout_frames
        scores_VK = clip_scores(logits_VTK, readout_frames)
        return Prediction(
            video=name,
            labels=self.labels,
            probabilities=np.exp(self.protocol.combine(scores_VK[None])[0]),
            frame_log_probabilities_TK=self._frame_answers(logits_VTK)[order],
            frame_pts_seconds=views.pts_seconds[order],
            timings_ms={
                "decode": decode_ms,
                "transform": 1000 * views.transform_seconds,
                "model": 1000 * (answered - start),
            },
            readout_frames=readout_frames,
        )

    def _frame_answers(self, logits_VTK: np.ndarray) -> np.ndarray:
        """Log-probabilities of every frame of every clip, averaged over the crops."""
        views, (_, num_frames, num_classes) = self.protocol, logits_VTK.shape
        per_crop = logits_VTK.reshape(views.num_clips, views.num_crops, num_frames, num_classes).swapaxes(1, 2)
        return views.combine(per_crop.reshape(-1, views.num_crops, num_classes))
