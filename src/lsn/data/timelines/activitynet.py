"""ActivityNet's JSON, as FineAction, HACS, MultiTHUMOS and many others use it, too.

Source: Heilbron et al., ActivityNet, CVPR 2015; the formats of its ground truth and of its detection task.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lsn.data.timelines.source import Source, expect, ids_of, make_event
from lsn.data.timelines.table import TimelineManifest, TimelineVideo, in_order
from lsn.files import exists, write_text
from lsn.parsing import to_json


def is_this(content: Any) -> bool:
    """Whether JSON is of this format."""
    return isinstance(content, dict) and ("database" in content or "results" in content)


def parse(source: Source, content: Any) -> list[TimelineVideo]:
    """Videos by name, with segments in seconds: a ground truth (`database`), or detections (`results`)."""
    videos: list[TimelineVideo] = []
    key = "database" if "database" in content else "results"

    def where(item: tuple[str, Any]) -> str:
        return f"{source.path}: video {item[0]!r}"

    def take(item: tuple[str, Any]) -> None:
        name, about = item
        listed = expect(about, dict, "its value").get("annotations", []) if key == "database" else about
        subset = expect(about.get("subset", ""), str, "its subset") if key == "database" else ""
        events = []
        for number, found in enumerate(expect(listed, list, "its list of annotations"), start=1):
            annotation = expect(found, dict, f"annotation {number}")
            segment = expect(annotation.get("segment"), list, f"the segment of annotation {number}")
            if len(segment) != 2:
                raise ValueError(f"the segment of annotation {number} is {segment}; expected its start and end")
            try:
                events.append(make_event(annotation.get("label"), *segment, confidence=annotation.get("score")))
            except ValueError as error:
                source.error(f"{where(item)}, annotation {number}", error)
        path = source.video(name)
        if not exists(path) and exists(source.video(f"v_{name}")):  # as the data set's own downloads are named
            path = source.video(f"v_{name}")
        videos.append(TimelineVideo(path, in_order(events), subset=subset, where=where(item)))

    source.each(expect(content[key], dict, f"{key!r}").items(), take, where)
    return videos


def write(path: Path, manifest: TimelineManifest) -> None:
    """Writes detections if the events have a confidence, else a ground truth; videos go by their names."""
    ids = ids_of(manifest.videos, path)
    is_found = any(event.confidence is not None for video in manifest.videos for event in video.events)
    database: dict[str, Any] = {}
    for name, video in ids.items():
        annotations = []
        for event in video.events:
            score = {} if event.confidence is None else {"score": event.confidence}
            annotations.append({"label": event.label, "segment": [event.start_seconds, event.end_seconds], **score})
        database[name] = annotations if is_found else {"subset": video.subset, "annotations": annotations}
    content = {"results": database, "external_data": {}} if is_found else {"database": database}
    write_text(path, to_json({"version": "VERSION 1.3", **content}) + "\n")
