"""One trained model, ready to say what happens in a video.

Shapes: V views, T frames, K classes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lsn.config import EvaluationConfig
from lsn.errors import ModelError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.running import running_mean
from lsn.evaluation.top import top_labels
from lsn.hardware import resolve_device
from lsn.inference.prepare import prepare_for_inference
from lsn.inference.source import Video, open_source
from lsn.models.forward import eval_mode, forward_views
from lsn.models.weights import LoadedModel, load_weights


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
        mean_TK = running_mean(torch.from_numpy(self.frame_log_probabilities_TK), self.readout_frames)
        return mean_TK.softmax(dim=1).float().numpy()

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
        weights: a weights folder (a run folder is one), or a loaded model.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one.
        evaluation: views of a video and their average; by default one clip with one crop.
        reader: decoder of video files.
        compile: run the network through PyTorch's compiler, at the first videos, which wait for it; see
            `lsn.models.compile`.

    Raises:
        WeightsError: there is no such folder, or it holds no weights of this version.
        ConfigError: there is no such device.
        ModelError: its events may overlap, so that a clip has no single answer.
    """

    def __init__(
        self,
        weights: str | Path | LoadedModel,
        *,
        device: str | torch.device = "auto",
        evaluation: EvaluationConfig | None = None,
        reader: Literal["pyav", "torchcodec"] = "pyav",
        compile: bool = False,
    ) -> None:
        self.device = resolve_device(device)
        loaded = weights if isinstance(weights, LoadedModel) else load_weights(weights)
        if loaded.model.multi_label:
            raise ModelError(
                f"{loaded.model.name} finds events that may overlap, so a video has no single answer; use lsn timeline"
            )
        self.model = prepare_for_inference(loaded.model, device=self.device, compile=compile)
        self.labels = loaded.labels
        self.protocol = EvaluationProtocol.of(self.model, loaded.input, evaluation or EvaluationConfig())
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
        read = time.perf_counter()
        with eval_mode(self.model):
            logits_VTK = forward_views(
                self.model.forward_frames, views.views_VTCHW, device=self.device, batch_size=self.protocol.batch_size
            )
        answered = time.perf_counter()  # the scores are on the CPU, so the device has finished
        if not logits_VTK.isfinite().all():
            raise ModelError(f"{name}: the model's scores are not finite; its weights are damaged")
        pts_seconds, order = views.pts_seconds.sort(stable=True)
        return Prediction(
            video=name,
            labels=self.labels,
            probabilities=self.protocol.combine(self.model.answer(logits_VTK)[None])[0].exp().numpy(),
            frame_log_probabilities_TK=self._frame_answers(logits_VTK)[order].numpy(),
            frame_pts_seconds=pts_seconds.numpy(),
            timings_ms={
                "decode": 1000 * (read - start - views.transform_seconds),
                "transform": 1000 * views.transform_seconds,
                "model": 1000 * (answered - read),
            },
            readout_frames=self.model.readout_frames,
        )

    def _frame_answers(self, logits_VTK: Tensor) -> Tensor:
        """Log-probabilities of every frame of every clip, averaged over the crops."""
        per_crop = logits_VTK.unflatten(0, (self.protocol.num_clips, self.protocol.num_crops))
        return self.protocol.combine(per_crop.transpose(1, 2).flatten(0, 1))
