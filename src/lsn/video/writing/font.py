"""The font of all text that is drawn into pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont


@cache
def dejavu_sans(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: Latin, Greek, Cyrillic and more, the same on every machine.

    Args:
        size: in pixels.
        bold: the bold cut.
    """
    import matplotlib  # here, as whoever draws nothing does without it

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
