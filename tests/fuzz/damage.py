"""What happens to files on bad disks, in broken transfers and in the hands of enemies."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

ODDITIES = ("folder", "link to itself", "pipe", "link to nothing", "empty file", "huge file", "device")
"""What can be where a file is expected."""

_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_NESTED_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta")


def put_oddity(kind: str, path: Path) -> None:
    """Puts one of `ODDITIES` where nothing is."""
    match kind:
        case "folder":
            path.mkdir()
        case "link to itself":
            path.symlink_to(path)
        case "link to nothing":
            path.symlink_to(path.with_name("nothing"))
        case "device":
            path.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.touch()
            os.truncate(path, 1 << 40 if kind == "huge file" else 0)


def damaged(data: bytes, random: Random, *, other: bytes) -> tuple[bytes, str]:
    """The bytes with one kind of damage, and the name of the damage.

    Args:
        data: a sound file.
        random: decides everything.
        other: another sound file, of which parts may come.
    """
    for _ in range(100):
        damage = random.choice(_DAMAGES)
        result = damage(data, random, other)
        if result != data:
            return result, damage.__name__.strip("_").replace("_", " ")
    raise AssertionError("no damage in 100 attempts")


def flipped(data: bytes, random: Random, num_bits: int) -> bytes:
    """The bytes with some bits flipped."""
    changed = bytearray(data)
    for _ in range(num_bits):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _bit_flips(data: bytes, random: Random, _: bytes) -> bytes:
    return flipped(data, random, random.choice((1, 3, 20, 200)))


def _bit_flips_in_the_header(data: bytes, random: Random, _: bytes) -> bytes:
    size = min(len(data), random.choice((64, 512, 2048)))
    return flipped(data[:size], random, random.choice((1, 2, 8))) + data[size:]


def _bit_flips_in_the_trailer(data: bytes, random: Random, _: bytes) -> bytes:
    size = min(len(data), random.choice((64, 512, 2048)))
    return data[:-size] + flipped(data[-size:], random, random.choice((1, 2, 8)))


def _zeros(data: bytes, random: Random, _: bytes) -> bytes:
    start, end = _span(data, random)
    return data[:start] + bytes(end - start) + data[end:]


def _noise(data: bytes, random: Random, _: bytes) -> bytes:
    start, end = _span(data, random)
    return data[:start] + random.randbytes(end - start) + data[end:]


def _truncation(data: bytes, random: Random, _: bytes) -> bytes:
    return data[
        : random.choice((random.randrange(len(data)), random.randrange(64), len(data) - 1 - random.randrange(64)))
    ]


def _missing_start(data: bytes, random: Random, _: bytes) -> bytes:
    return data[random.randrange(1, len(data)) :]


def _missing_bytes(data: bytes, random: Random, _: bytes) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def _more_bytes(data: bytes, random: Random, _: bytes) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + random.randbytes(random.choice((1, 16, 1000))) + data[place:]


def _header_of_another_file(data: bytes, random: Random, other: bytes) -> bytes:
    size = random.randrange(4, 2048)
    return other[:size] + data[random.choice((0, size)) :]


def _middle_of_another_file(data: bytes, random: Random, other: bytes) -> bytes:
    start, end = _span(data, random)
    return data[:start] + other[start:end] + data[end:]


def _extreme_numbers(data: bytes, random: Random, _: bytes) -> bytes:
    changed, first = bytearray(data), random.choice((0, max(0, len(data) - 2048)))
    for _ in range(random.choice((1, 1, 4))):
        place = first + random.randrange(min(2048, len(data) - 4))
        code = random.choice((">I", "<I", ">H", "<H"))
        number = random.choice(_EXTREMES) & (0xFFFF if code[1] == "H" else 0xFFFFFFFF)
        struct.pack_into(code, changed, place, number)
    return bytes(changed)


def _extreme_numbers_in_a_chunk(data: bytes, random: Random, _: bytes) -> bytes:
    """Sizes, counts and times of the tables of an MP4 or an AVI."""
    if not (found := list(_chunks(data))):
        return data
    start, end = random.choice(found)
    changed, code = bytearray(data), "<I" if data.startswith(b"RIFF") else ">I"
    place = start + 4 * random.randrange(max(1, min(16, (end - start) // 4)))
    if place + 4 <= len(data):
        struct.pack_into(code, changed, place, random.choice(_EXTREMES))
    return bytes(changed)


def _swapped_chunks(data: bytes, random: Random, _: bytes) -> bytes:
    """Two parts of the file, that follow each other."""
    (a, b), (c, d) = sorted(_two_chunks(data, random))
    return data if b > c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _duplicated_chunk(data: bytes, random: Random, _: bytes) -> bytes:
    (start, end), (place, _) = _two_chunks(data, random)
    return data[:place] + data[start:end] + data[place:]


def _missing_chunk(data: bytes, random: Random, _: bytes) -> bytes:
    (start, end), _ = _two_chunks(data, random)
    return data[:start] + data[end:]


_DAMAGES: tuple[Callable[[bytes, Random, bytes], bytes], ...] = (
    _bit_flips,
    _bit_flips_in_the_header,
    _bit_flips_in_the_trailer,
    _zeros,
    _noise,
    _truncation,
    _missing_start,
    _missing_bytes,
    _more_bytes,
    _header_of_another_file,
    _middle_of_another_file,
    _extreme_numbers,
    _extreme_numbers_in_a_chunk,
    _swapped_chunks,
    _duplicated_chunk,
    _missing_chunk,
)


def _span(data: bytes, random: Random) -> tuple[int, int]:
    size = random.choice((4, 32, 300, 2000))
    start = random.choice((random.randrange(len(data)), random.randrange(min(512, len(data)))))
    return start, min(len(data), start + size)


def _two_chunks(data: bytes, random: Random) -> list[tuple[int, int]]:
    """Chunks of a container whose chunks are known; of others, any parts."""
    found = list(_chunks(data))
    return random.sample(found, 2) if len(found) >= 2 else [_span(data, random) for _ in range(2)]


def _chunks(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Where the boxes of an MP4, or the chunks of an AVI, start and end: outer ones and inner ones."""
    end = len(data) if end is None else end
    is_riff = data.startswith(b"RIFF")
    if not is_riff and data[4:8] not in (b"ftyp", b"wide", b"moov"):
        return
    while start + 8 <= end:
        if is_riff:
            kind, size = data[start : start + 4], 8 + struct.unpack_from("<I", data, start + 4)[0]
            size += size % 2
            inner = 12 if kind in (b"RIFF", b"LIST") else None
        else:
            size, kind = struct.unpack_from(">I4s", data, start)
            inner = 8 if kind in _NESTED_BOXES else None
        if not 8 <= size <= end - start:
            return
        yield start, start + size
        if inner is not None:
            yield from _chunks(data, start + inner, start + size)
        start += size
