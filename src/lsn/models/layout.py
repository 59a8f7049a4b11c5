"""How the values of a clip lie in memory.

Shapes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

from torch import Tensor


def frames_channels_last(clip_BTCHW: Tensor) -> Tensor:
    """The same values, each frame stored with its channels innermost, as convolutions run fastest on.

    It is torch's `channels_last`, which knows no time, for clips: flattened to B*T frames, they have that format.
    """
    return clip_BTCHW.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
