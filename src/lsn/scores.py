"""From class scores (logits) to answers, in NumPy: computed in float64, returned as float32.

Shapes: T frames, K classes; `...` is any number of dimensions.
"""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities over the last dimension, (..., K)."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last dimension, (..., K)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype(np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of classes that do not exclude each other."""
    return (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)


def clip_scores(frame_scores_TK: np.ndarray, readout_frames: int | None) -> np.ndarray:
    """The scores of clips from those of their frames, (..., T, K) -> (..., K).

    Args:
        frame_scores_TK: of every frame.
        readout_frames: last frames that the mean is of; None for all.
    """
    first = 0 if readout_frames is None else -readout_frames
    return frame_scores_TK[..., first:, :].mean(axis=-2, dtype=np.float64).astype(np.float32)


def running_clip_scores(frame_scores_TK: np.ndarray, readout_frames: int | None) -> np.ndarray:
    """What `clip_scores` would be after each frame, (..., T, K); the last are those of the whole clip."""
    num_frames = frame_scores_TK.shape[-2]
    width = min(readout_frames or num_frames, num_frames)
    total_TK = frame_scores_TK.cumsum(axis=-2, dtype=np.float64)
    before_TK = np.zeros_like(total_TK)
    before_TK[..., width:, :] = total_TK[..., :-width, :]
    seen_T1 = np.arange(1, num_frames + 1).clip(max=width)[:, None]
    return ((total_TK - before_TK) / seen_T1).astype(np.float32)
