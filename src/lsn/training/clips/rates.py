"""How fast frames follow each other in the training clips: what a stream should come near to."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lsn.config import FrameRates
from lsn.data import Manifest, probe, thinned
from lsn.video import ClipSampler

MAX_CLIPS = 200
"""Enough to estimate percentiles, and few enough to open before every run."""


def measure_frame_rates(
    manifest: Manifest, sampler: ClipSampler, *, reader: Literal["pyav", "torchcodec"] = "pyav"
) -> FrameRates | None:
    """Rates of the clips that training makes of a manifest, in frames per second.

    Up to `MAX_CLIPS` videos spread over the manifest are opened, the same ones each time; those that cannot be read
    are left out. None is opened where the sampler knows its rates without them.

    Args:
        manifest: The training clips.
        sampler: Chooses their frames.
        reader: The decoder.

    Returns:
        The 5th, 50th and 95th percentile; None if the duration of no video is known.

    Raises:
        ConfigError: the reader is not installed.
    """
    if sampler.fps_range is not None:
        return FrameRates(*sampler.fps_range)
    probes = probe(thinned(manifest, MAX_CLIPS), reader=reader)
    infos = [found.info for found in probes if found.info is not None and found.info.duration_seconds > 0]
    if not infos:
        return None
    low, median, high = np.percentile([sampler.clip_fps(info) for info in infos], (5, 50, 95)).tolist()
    return FrameRates(low, median, high)
