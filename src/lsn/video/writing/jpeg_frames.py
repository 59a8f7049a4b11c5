"""From a video to a folder of JPEG frames, as TSN's tools write them."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from lsn.errors import ConfigError, VideoError, shown
from lsn.files import new_folder
from lsn.parsing import is_name
from lsn.video.decoding.container import check_source
from lsn.video.decoding.frames_reader import frame_number, numbered_files
from lsn.video.decoding.pyav_reader import PyAVReader


def check_extraction(*, short_side: int, pattern: str, quality: int) -> None:
    """Refuses settings that no folder of frames can be written with.

    Raises:
        ConfigError: says which, and what it must be.
    """
    if short_side < 1:
        raise ConfigError(f"short_side is {short_side}; it must be at least 1")
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality is {quality}; it must be between 1 and 100")
    try:  # a number of a billion digits would be a name of a gigabyte
        names = ("", "") if re.search(r"\d{3}", pattern) else (pattern.format(1), pattern.format(2))
    except (IndexError, KeyError, ValueError):
        names = pattern, pattern
    readable = is_name(pattern) and names[0] != names[1] and frame_number(names[0], pattern) == 1
    if not readable or Path(names[0]).name != names[0] or not names[0].lower().endswith((".jpg", ".jpeg")):
        raise ConfigError(
            f"pattern is {shown(pattern)}; expected the name of a .jpg with one number, as img_{{:05d}}.jpg"
        )


def extract_frames(
    reader: PyAVReader, folder: str | Path, *, pattern: str = "img_{:05d}.jpg", quality: int = 95
) -> int:
    """Writes every frame of a video as a JPEG, numbered from 1. The folder appears when it is complete.

    Args:
        reader: the video; it decides the size.
        folder: where, missing or empty; its parents are made.
        pattern: names of the frames, with a place for the number.
        quality: of the JPEGs, 1 to 100.

    Returns:
        The number of frames.

    Raises:
        VideoError: a frame cannot be decoded or differs in size, or the folder cannot be written.
    """
    try:
        with new_folder(folder) as partial:
            for number, frame_HWC in enumerate(reader.of_one_size(range(reader.num_frames)), start=1):
                Image.fromarray(frame_HWC).save(partial / pattern.format(number), quality=quality)
            written = len(numbered_files(partial, pattern))
            if written != reader.num_frames:
                raise VideoError(
                    f"{reader.info.name}: {written} of {reader.num_frames} frames were written to {folder}"
                )
    except OSError as error:
        raise VideoError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return written


def open_for_extraction(source: str | Path, *, short_side: int) -> PyAVReader:
    """A reader whose frames are shrunk to a short side while they are converted; smaller ones stay.

    Raises:
        VideoError: the source is missing, is no video file, is truncated or damaged.
    """
    check_source(source)
    return PyAVReader(source, short_side=short_side)
