"""Projects of the VGG Image Annotator 3 (VIA) with temporal segments.

Source: Dutta and Zisserman, The VIA annotation software for images, audio and video, ACM Multimedia 2019; the format
of its projects (VIA 3.1.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lsn.data.timelines.source import Source, expect, make_event
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.files import write_text
from lsn.parsing import to_json

_VIDEO, _SELECT, _FILE_URI = 4, 4, 3  # VIA's numbers for a video, an attribute with options, and a file's address
_TEMPORAL = ("FILE1_Z1_XY0", "FILE1_Z2_XY0")
"""What an attribute is of: one or two times in a file, and no place in the picture."""


def is_this(content: Any) -> bool:
    """Whether JSON is of this format."""
    return isinstance(content, dict) and {"project", "attribute", "file", "view", "metadata"} <= content.keys()


def parse(source: Source, content: dict[str, Any]) -> list[TimelineVideo]:
    """The videos of a project; segments without a place in the picture, labelled by the attribute of such segments."""
    attributes = expect(content["attribute"], dict, "'attribute'")
    temporal = [key for key, about in attributes.items() if about.get("anchor_id") in _TEMPORAL]
    files = {str(key): expect(about, dict, f"file {key}") for key, about in content["file"].items()}
    shown_in = {str(key): [str(fid) for fid in about["fid_list"]] for key, about in content["view"].items()}
    events: dict[str, list[TimelineEvent]] = {key: [] for key in files}

    def where(item: tuple[str, Any]) -> str:
        return f"{source.path}: segment {item[0]!r}"

    def take(item: tuple[str, Any]) -> None:
        about = expect(item[1], dict, "its value")
        times = expect(about.get("z"), list, "its times (z)")
        if about.get("xy") or not times:
            return  # a place in the picture, or an attribute of the whole file
        if len(times) > 2:
            raise ValueError(f"it has {len(times)} times; expected one, or a start and an end")
        values = expect(about.get("av"), dict, "its attributes (av)")
        chosen = [(key, values[key]) for key in temporal if values.get(key)]
        if len(chosen) != 1:
            raise ValueError(f"it has {len(chosen)} labels; choose one for each segment")
        key, value = chosen[0]
        label = expect(attributes[key].get("options", {}), dict, "the options of its attribute").get(value, value)
        for fid in shown_in.get(str(about.get("vid")), []):
            events[fid].append(make_event(label, times[0], times[-1]))

    source.each(expect(content["metadata"], dict, "'metadata'").items(), take, where)
    videos: list[TimelineVideo] = []

    def add(fid: str) -> None:
        address = files[fid].get("src") or files[fid].get("fname", "")
        name = unquote(urlsplit(str(address)).path)
        path = source.video(name)
        videos.append(TimelineVideo(path, in_order(events[fid]), where=f"{source.path}: file {fid}"))

    source.each(files, add, lambda fid: f"{source.path}: file {fid}")
    return videos


def write(path: Path, manifest: TimelineManifest) -> None:
    """Writes a project, in which VIA opens the videos by their addresses."""
    labels = {label: str(number) for number, label in enumerate(manifest.labels)}
    files, views, metadata = {}, {}, {}
    for number, video in enumerate(manifest.videos, start=1):
        fid, name = str(number), Path(video.path).name
        files[fid] = {"fid": fid, "fname": name, "type": _VIDEO, "loc": _FILE_URI, "src": Path(video.file).as_uri()}
        views[fid] = {"fid_list": [fid]}
        for index, event in enumerate(video.events):
            times = [event.start_seconds] if event.is_point else [event.start_seconds, event.end_seconds]
            segment = {"vid": fid, "flg": 0, "z": times, "xy": [], "av": {"1": labels[event.label]}}
            metadata[f"{fid}_{index}"] = segment
    attribute = {
        "aname": "TEMPORAL-SEGMENTS",
        "anchor_id": _TEMPORAL[1],
        "type": _SELECT,
        "desc": "Events",
        "options": {number: label for label, number in labels.items()},
        "default_option_id": "",
    }
    content = {
        "project": {
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": "events",
            "creator": "lsn",
            "created": 0,
            "vid_list": list(views),
        },
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
        "attribute": {"1": attribute},
        "file": files,
        "metadata": metadata,
        "view": views,
    }
    write_text(path, to_json(content) + "\n")
