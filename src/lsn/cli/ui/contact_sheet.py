"""A contact sheet: one clip a class, as a row of its frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from lsn.data import Clip, Manifest, open_clip
from lsn.errors import ConfigError, VideoError
from lsn.files import atomic_path
from lsn.video.sampling import segment_indices_eval
from lsn.video.writing.font import dejavu_sans

FRAMES = 8
_MAX_WIDTH, _MAX_HEIGHT = 192, 96
_GAP, _TEXT = 4, 14


def write_contact_sheet(path: Path, manifest: Manifest, *, progress: Callable[[int, int], None]) -> None:
    """Draws the first clip of every class; a clip that cannot be read leaves its error in its row.

    Raises:
        ConfigError: the ending of the path is not one of a picture.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"{path}: a contact sheet is a .png or .jpg")
    first = {clip.label: clip for clip in reversed(manifest.clips)}
    labels = [label for label in manifest.labels if label in first]
    rows: list[Image.Image] = []
    for label in labels:
        rows.append(_row(label, first[label]))
        progress(len(rows), len(labels))
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    with atomic_path(path) as partial:
        sheet.save(partial)


def _row(label: str, clip: Clip) -> Image.Image:
    try:
        with open_clip(clip) as video:
            indices = segment_indices_eval(video.num_frames, FRAMES)
            frames = [Image.fromarray(small) for small in video.transformed_at(indices, _thumbnails)]
        text = f"{label}   {Path(clip.path).name}"
    except VideoError as error:
        frames, text = [], f"{label}   {error}"
    font = dejavu_sans(_TEXT - 2)
    width = max(round(font.getlength(text)) + 2 * _GAP, sum(frame.width + _GAP for frame in frames))
    height = max((frame.height for frame in frames), default=0)
    row = Image.new("RGB", (width, _TEXT + height + 3 * _GAP), "white")
    ImageDraw.Draw(row).text((_GAP, _GAP // 2), text, fill="black", font=font)
    left = 0
    for frame in frames:
        row.paste(frame, (left, _TEXT + _GAP))
        left += frame.width + _GAP
    return row


def _thumbnails(frames_THWC: np.ndarray) -> np.ndarray:
    box = _MAX_WIDTH, _MAX_HEIGHT
    small = [ImageOps.contain(Image.fromarray(frame_HWC), box) for frame_HWC in frames_THWC]
    return np.stack([np.asarray(image) for image in small])
