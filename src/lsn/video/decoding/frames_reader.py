"""Folders of images, one for each frame, as TSN's and Something-Something's tools write them."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import simplejpeg
from PIL import Image

from lsn.errors import ConfigError, VideoError
from lsn.files import read_bytes
from lsn.video.decoding.limits import check_pixels
from lsn.video.decoding.reader import VideoInfo, VideoReader, check_fps

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Endings of the images that a folder of frames is read from, in lower case."""

_MAX_CLIENT_SIDE = 8192
_JPEG = b"\xff\xd8\xff"  # how one starts
_MAX_IMAGE_BYTES = 1 << 29  # more than the largest frames have without any compression
_WHOLE = "send a whole JPEG, WebP or PNG"
_NAMED = 5  # missing frames that an error names


class Images(Protocol):
    """Where images are."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def names(self) -> Iterable[str]:
        """Of all files there, in any order."""

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The content of one.

        Raises:
            VideoError: it cannot be read, or is larger.
        """

    def close(self) -> None:
        """Closes what was opened."""


@dataclass(frozen=True)
class FolderOfImages:
    """Images in a folder of the file system."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def names(self) -> Iterable[str]:
        """Of all files in the folder."""
        return (path.name for path in self.folder.iterdir())

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The content of one."""
        return read_bytes(self.folder / name, "frame", error=VideoError, max_bytes=max_bytes)

    def close(self) -> None:
        """Nothing was opened."""


class FramesReader(VideoReader):
    """Numbered images, in the order of their numbers.

    Args:
        images: Where they are.
        frame_pattern: Their names with the place of the number, such as `img_{:05d}.jpg`. By default all
            images that are there, which then must share one pattern.
        fps: Frames per second, which images do not record.

    Raises:
        VideoError: no images, several kinds of them, missing numbers, or an image that is broken.
        ConfigError: the pattern has no place for a number.
    """

    def __init__(self, images: Images, *, frame_pattern: str | None = None, fps: float) -> None:
        check_fps(fps, images.name)
        self._images = images
        self._names = _numbered(images.names(), images.name, frame_pattern)
        num_frames = len(self._names)
        width, height = self._size()
        self.pts_seconds = np.arange(num_frames, dtype=np.float64) / fps
        self.info = VideoInfo(
            name=images.name,
            num_frames=num_frames,
            width=width,
            height=height,
            duration_seconds=num_frames / fps,
            average_fps=float(fps),
            codec=Path(self._names[0]).suffix[1:].lower(),
        )

    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        return map(self._read, indices)

    def _frame_name(self, index: int) -> str:
        return self._names[index]

    def _size(self) -> tuple[int, int]:
        """Width and height of the first image, from its header."""
        name = self._full_name(0)
        data = self._content(0)
        with _naming_broken(name, "extract the frames again"), Image.open(io.BytesIO(data)) as image:
            check_pixels(*image.size, name)
            return image.size

    def _read(self, index: int) -> np.ndarray:
        name = self._full_name(index)
        with _naming_broken(name, "extract the frames again"):
            return _decoded(self._content(index), name)

    def close(self) -> None:  # noqa: D102 - as in VideoReader
        self._images.close()

    def _content(self, index: int) -> bytes:
        return self._images.read(self._names[index], max_bytes=_MAX_IMAGE_BYTES)

    def _full_name(self, index: int) -> str:
        return f"{self._images.name}/{self._names[index]}"


def decode_image(data: bytes, name: str, *, max_pixels: int) -> np.ndarray:
    """A picture of a client, JPEG, WebP or PNG, as uint8 RGB, HWC.

    Args:
        data: the content of its file.
        name: what an error calls it.
        max_pixels: that it may have, by far fewer than frames of videos may.

    Raises:
        VideoError: it is none, damaged, or of too many pixels, which is said before it takes memory.
    """
    width, height = image_size(data, name)
    if width * height > max_pixels or max(width, height) > _MAX_CLIENT_SIDE:
        raise VideoError(f"{name}: {width}x{height} pixels; send at most {max_pixels:,}")
    with _naming_broken(name, _WHOLE):
        return _decoded(data, name)


def is_jpeg(data: bytes) -> bool:
    """Whether data begin as a JPEG does."""
    return data.startswith(_JPEG)


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height of a client's picture, JPEG, WebP or PNG, by its header alone.

    Raises:
        VideoError: it is none.
    """
    with _naming_broken(name, _WHOLE):
        if is_jpeg(data):
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            return width, height
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
            return image.size


def _decoded(data: bytes, name: str) -> np.ndarray:
    if is_jpeg(data):
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        check_pixels(width, height, name)
        return simplejpeg.decode_jpeg(data)  # in half of Pillow's time
    with Image.open(io.BytesIO(data)) as image:
        check_pixels(*image.size, name)
        return np.array(image.convert("RGB"))


@contextmanager
def _naming_broken(name: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for broken files
        raise VideoError(f"{name}: a broken image ({error}); {remedy}") from None
    except Image.DecompressionBombError as error:
        raise VideoError(f"{name}: too large for Pillow ({error}); make it smaller") from None


def numbered_files(folder: Path, frame_pattern: str | None) -> list[Path]:
    """The images of a folder in the order of their numbers, without holes."""
    return [folder / name for name in _numbered(FolderOfImages(folder).names(), str(folder), frame_pattern)]


def _numbered(names: Iterable[str], where: str, frame_pattern: str | None) -> list[str]:
    """Names of images in the order of their numbers."""
    matcher = _matcher(frame_pattern)
    by_kind: dict[tuple[str, str], dict[int, str]] = {}
    for name in sorted(names):
        if match := matcher.fullmatch(name):
            files = by_kind.setdefault((match["before"], match["after"]), {})
            number = int(match["number"])
            if number in files:
                raise VideoError(f"{where}: {files[number]} and {name} are the same frame; remove one")
            files[number] = name
    if not by_kind:
        expected = f"{frame_pattern!r}" if frame_pattern else f"numbered images ({', '.join(sorted(IMAGE_SUFFIXES))})"
        raise VideoError(f"{where}: holds no frames; expected {expected}")
    if len(by_kind) > 1:
        kinds = ", ".join(f"{before}*{after}" for before, after in sorted(by_kind))
        raise VideoError(f"{where}: holds several kinds of images ({kinds}); keep one, or name it with frame_pattern")
    (files,) = by_kind.values()
    promised = max(files) - min(files) + 1  # without end if the numbers are times, so the holes are never listed
    if num_missing := promised - len(files):
        missing = (number for number in itertools.count(min(files)) if number not in files)
        some = ", ".join(map(str, itertools.islice(missing, min(num_missing, _NAMED))))
        more = f" and {num_missing - _NAMED} more" if num_missing > _NAMED else ""
        raise VideoError(
            f"{where}: {len(files)} of {promised} frames are there; missing: {some}{more}; extract them again"
        )
    return [files[number] for number in sorted(files)]


def frame_number(name: str, frame_pattern: str) -> int | None:
    """The number of an image that the pattern names, None for another image.

    Raises:
        ConfigError: the pattern has no place for a number, or more than one.
    """
    match = _matcher(frame_pattern).fullmatch(name)
    return int(match["number"]) if match else None


def _matcher(frame_pattern: str | None) -> re.Pattern[str]:
    """Splits a file name into what stands before the number, the number, and what stands after."""
    if frame_pattern is None:
        suffixes = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
        return re.compile(rf"(?P<before>.*?)(?P<number>\d+)(?P<after>(?i:{suffixes}))")
    parts = re.split(r"\{(?::0?\d*d)?\}", frame_pattern)
    if len(parts) != 2:
        raise ConfigError(f"frame pattern {frame_pattern!r}: expected one place for the number, as in img_{{:05d}}.jpg")
    before, after = map(re.escape, parts)
    return re.compile(rf"(?P<before>{before})(?P<number>\d+)(?P<after>{after})")
