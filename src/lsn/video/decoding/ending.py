"""Whether a file ends before its writer had finished it, as far as its structure shows.

A duration proves nothing: the last frame may be held long, and sound may go on after the pictures. So a file is held to
what its header promises only if the header also says where the file ends, and it ends before that:

- AVI: the size of the RIFF reaches beyond the end of the file.
- Matroska and WebM: the size of the segment does, and the file ends among its clusters, which hold the frames.
- FLV: its metadata name a larger size of the file; or none, but a duration, and the file ends within a tag.

Streamed files leave these sizes open (0, or all bits set) and may end anywhere: what is there is all of them.
MP4 needs no such evidence, since its index lists every frame.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from lsn.video.decoding.container import Source, open_bytes

_EBML_HEADER, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_FLV_TAG_HEADER, _FLV_TAG_END = 11, 4  # bytes around the data of a tag; the second is the size of the rest
_FLV_METADATA = 4096  # bytes at the start of a file within which its metadata name its size


def is_cut_avi(source: Source) -> bool:
    """Whether an AVI file ends before its first RIFF does."""
    with open_bytes(source) as file:
        (riff_size,) = struct.unpack("<4xI", file.read(8))
        return riff_size != 0xFFFFFFFF and 8 + riff_size > _size(file)


def is_cut_matroska(source: Source) -> bool:
    """Whether a Matroska file ends among its clusters, and before its segment does."""
    with open_bytes(source) as file:
        size = _size(file)
        kind, place, length = _element(file, 0)
        if kind != _EBML_HEADER or length is None:
            return False
        kind, place, length = _element(file, place + length)
        if kind != _SEGMENT or length is None or place + length <= size:
            return False
        last = None
        while place < size:
            last, place, length = _element(file, place)
            if last is None or length is None:
                break
            place += length
        return last in (None, _CLUSTER)


def is_cut_flv(source: Source) -> bool:
    """Whether an FLV file is shorter than its metadata say, or they give a duration and it ends within a tag."""
    with open_bytes(source) as file:
        size, metadata = _size(file), file.read(_FLV_METADATA)
        if file_size := _flv_number(metadata, b"filesize"):
            return file_size > size
        return _flv_number(metadata, b"duration") > 0 and _ends_within_flv_tag(file, size)


def _flv_number(metadata: bytes, name: bytes) -> float:
    place = metadata.find(name + b"\0") + len(name) + 1  # the zero says that a number follows
    if place < len(name) + 1 or len(metadata) < place + 8:
        return 0.0
    return struct.unpack_from(">d", metadata, place)[0]


def _ends_within_flv_tag(file: BinaryIO, size: int) -> bool:
    file.seek(size - _FLV_TAG_END)
    tag_size = int.from_bytes(file.read(_FLV_TAG_END))
    if not _FLV_TAG_HEADER <= tag_size <= size - _FLV_TAG_END:
        return True
    file.seek(size - _FLV_TAG_END - tag_size)
    return int.from_bytes(file.read(4)[1:]) + _FLV_TAG_HEADER != tag_size


def _element(file: BinaryIO, place: int) -> tuple[int | None, int, int | None]:
    """The EBML element at a place: its kind, where its data start, and their length, None if it is left open.

    The kind is None where the file ends or holds something else.
    """
    file.seek(place)
    head = file.read(12)
    kind_bytes = _length_of_number(head[:1])
    size_bytes = _length_of_number(head[kind_bytes : kind_bytes + 1])
    if not 1 <= kind_bytes <= 4 or not size_bytes or len(head) < kind_bytes + size_bytes:
        return None, place, None
    kind = int.from_bytes(head[:kind_bytes])
    most = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(head[kind_bytes : kind_bytes + size_bytes]) & most
    return kind, place + kind_bytes + size_bytes, None if length == most else length


def _length_of_number(first: bytes) -> int:
    """Bytes of a number of EBML, as its first byte says; 0 if there is none."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _size(file: BinaryIO) -> int:
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return size
