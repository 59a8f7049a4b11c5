"""ELAN's .eaf: annotations in milliseconds on tiers, one file per video.

Source: ELAN Annotation Format, schema 3.0 (Max Planck Institute for Psycholinguistics).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from lsn.data.clips.text import read_text
from lsn.data.timelines.source import Source, ids_of, make_event
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import DataError, shown
from lsn.files import exists, new_folder, write_text

SUFFIX = ".eaf"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


def parse(source: Source, files: Sequence[Path]) -> list[TimelineVideo]:
    """The time-aligned annotations of all tiers; their values are the labels."""
    videos: list[TimelineVideo] = []

    def take(file: Path) -> None:
        document = _read(file)
        media = _media(document)
        times = _time_slots(document, origin=_milliseconds(media.get("TIME_ORIGIN") or "0"))
        events = []
        for tier, annotation in _aligned(document):
            label = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            start, end = (times.get(annotation.get(f"TIME_SLOT_REF{number}", "")) for number in (1, 2))
            try:
                if start is None or end is None:
                    raise ValueError("its times are not set")
                events.append(make_event(label, start / 1000, end / 1000))
            except ValueError as error:
                source.error(f"{file}, annotation {annotation.get('ANNOTATION_ID')} on tier {shown(tier)}", error)
        videos.append(TimelineVideo(_video(source, file, media), in_order(events), where=str(file)))

    source.each(files, take, str)
    return videos


def _read(file: Path) -> Element:
    text = read_text(file, "ELAN file")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # what could make a small file grow without end
        raise ValueError("it declares a document type, which ELAN does not; save it with ELAN again")
    try:
        document = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    if document.tag != "ANNOTATION_DOCUMENT":
        raise ValueError(f"an XML file of {shown(document.tag)}; expected ELAN's ANNOTATION_DOCUMENT")
    return document


def _media(document: Element) -> Element:
    """The link to the video; a sound may be linked before it.

    Raises:
        ValueError: there is none.
    """
    linked = document.findall("HEADER/MEDIA_DESCRIPTOR")
    videos = [media for media in linked if media.get("MIME_TYPE", "").startswith("video/")]
    if not linked:
        raise ValueError("it is linked to no media file")
    return (videos or linked)[0]


def _milliseconds(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise ValueError(f"a time of {shown(text)}; expected whole milliseconds")
    return int(text)


def _time_slots(document: Element, *, origin: int) -> dict[str, float]:
    """Milliseconds of the slots, from the start of the video; slots without a time are spread evenly between others."""
    slots = [
        (slot.get("TIME_SLOT_ID", ""), slot.get("TIME_VALUE")) for slot in document.iterfind("TIME_ORDER/TIME_SLOT")
    ]
    known = {place: _milliseconds(value) + origin for place, (_, value) in enumerate(slots) if value}
    if not known:
        return {}
    times = np.interp(range(len(slots)), list(known), list(known.values())).tolist()
    return {name: time for (name, _), time in zip(slots, times, strict=True)}


def _aligned(document: Element) -> Iterator[tuple[str, Element]]:
    for tier in document.iterfind("TIER"):
        for annotation in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
            yield tier.get("TIER_ID", ""), annotation


def _video(source: Source, file: Path, media: Element) -> str:
    """The linked media: by the link relative to the file, by the absolute one, or by its name below the root."""
    links = [unquote(urlsplit(media.get(name, "")).path) for name in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
    beside = [os.path.normpath(file.parent / link) for link in links if link]
    name = Path(next(filter(None, links), file.stem)).name
    return next((path for path in beside if exists(path)), None) or source.video(name)


def write(path: Path, manifest: TimelineManifest) -> None:
    """Writes a folder with a file per video and in it a tier per label, as annotations on a tier cannot overlap.

    Raises:
        DataError: an event is a point, or two of one label overlap, which ELAN cannot hold.
    """
    documents = {name: _document(video) for name, video in ids_of(manifest.videos, path).items()}
    with new_folder(path) as folder:
        for name, document in documents.items():
            ElementTree.indent(document)
            text = ElementTree.tostring(document, encoding="unicode", xml_declaration=False)
            write_text(folder / f"{name}{SUFFIX}", f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _document(video: TimelineVideo) -> Element:
    document = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = SubElement(document, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    mime = "video/mp4" if video.path.lower().endswith((".mp4", ".m4v")) else "video/*"
    SubElement(header, "MEDIA_DESCRIPTOR", {"MEDIA_URL": Path(video.file).as_uri(), "MIME_TYPE": mime})
    order = SubElement(document, "TIME_ORDER")
    slots: list[tuple[int, str]] = []
    for label in sorted({event.label for event in video.events}):
        tier = SubElement(document, "TIER", {"LINGUISTIC_TYPE_REF": "default-lt", "TIER_ID": label})
        before: TimelineEvent | None = None
        for event in (event for event in video.events if event.label == label):
            _check(event, before, video)
            names = [f"ts{len(slots) + number}" for number in (1, 2)]
            milliseconds = [round(1000 * seconds) for seconds in (event.start_seconds, event.end_seconds)]
            slots += zip(milliseconds, names, strict=True)
            about = {"ANNOTATION_ID": f"a{len(slots) // 2}"}
            about |= {f"TIME_SLOT_REF{number}": name for number, name in enumerate(names, start=1)}
            annotation = SubElement(SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", about)
            SubElement(annotation, "ANNOTATION_VALUE").text = label
            before = event
    for value, name in sorted(slots):
        SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": name, "TIME_VALUE": str(value)})
    type_of_tiers = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true"}
    SubElement(document, "LINGUISTIC_TYPE", type_of_tiers)
    return document


def _check(event: TimelineEvent, before: TimelineEvent | None, video: TimelineVideo) -> None:
    if round(1000 * event.end_seconds) <= round(1000 * event.start_seconds):
        raise DataError(
            f"{video.path}: {event} is a point, which ELAN cannot store; write .csv or Label Studio's .json"
        )
    if before is not None and before.end_seconds > event.start_seconds:
        raise DataError(
            f"{video.path}: {before} and {event} overlap, which they cannot on one tier of ELAN; write .csv"
        )
