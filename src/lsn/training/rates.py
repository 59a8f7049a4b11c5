"""How fast frames follow each other in the training clips: what a stream should come near to."""

from __future__ import annotations

import numpy as np

from lsn.config import RunConfig
from lsn.data import Manifest, probe, thinned
from lsn.models.weights import FrameRates
from lsn.video import VideoInfo

MAX_CLIPS = 200
"""Enough to tell percentiles, and few enough to open before every run."""


def measure_frame_rates(manifest: Manifest, config: RunConfig) -> FrameRates | None:
    """Rates of the clips that training makes of a manifest, in frames a second.

    Up to `MAX_CLIPS` videos spread over the manifest are opened, the same ones each time; those that cannot be read
    are left out. Timed sampling tells its rates without them.

    Args:
        manifest: The training clips.
        config: Tells how frames are chosen, and the decoder.

    Returns:
        The 5th, 50th and 95th percentile; None if no video tells how long it is.

    Raises:
        ConfigError: the reader is not installed.
    """
    input = config.input
    if input.sampling == "timed":
        return FrameRates(input.fps / input.fps_jitter, input.fps, input.fps * input.fps_jitter)
    probes = probe(thinned(manifest, MAX_CLIPS), reader=config.data.reader)
    infos = [found.info for found in probes if found.info is not None and found.info.duration_seconds > 0]
    if not infos:
        return None
    low, median, high = np.percentile([_rate(info, config) for info in infos], (5, 50, 95)).tolist()
    return FrameRates(low, median, high)


def _rate(info: VideoInfo, config: RunConfig) -> float:
    num_frames, stride = config.model.num_frames, config.input.frame_stride
    if config.input.sampling == "dense" and info.num_frames > (num_frames - 1) * stride:
        return info.average_fps / stride
    return num_frames / info.duration_seconds  # spread over the whole video, as short ones are under dense sampling too
