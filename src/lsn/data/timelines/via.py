"""Projects of the VGG Image Annotator 3 (VIA) with temporal segments.

Source: Dutta and Zisserman, The VIA annotation software for images, audio and video, ACM Multimedia 2019; the format
of its projects (VIA 3.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lsn.data.timelines.source import Source, expect, make_event
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import shown
from lsn.files import is_file, write_text
from lsn.parsing import to_json

_VIDEO, _CHECKBOX, _SELECT, _FILE_URI = 4, 2, 4, 3  # VIA's numbers: kinds of files, of attributes, of addresses
_TEMPORAL = ("FILE1_Z1_XY0", "FILE1_Z2_XY0")
"""What an attribute is of: one or two times in a file, and no place in the picture."""


def is_this(content: Any) -> bool:
    """Whether JSON is of this format."""
    return isinstance(content, dict) and {"project", "attribute", "file", "view", "metadata"} <= content.keys()


def parse(source: Source, content: dict[str, Any]) -> list[TimelineVideo]:
    """The videos of a project; segments without a place in the picture, labelled by the attribute of such segments."""
    files = _objects(content, "file")
    attributes = {key: _Attribute.of(key, about) for key, about in _objects(content, "attribute").items()}
    shown_in = {key: _fids(key, about) for key, about in _objects(content, "view").items()}
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
        named = [attributes[key].labels(value) for key, value in values.items() if key in attributes and value]
        labels = [label for found in named for label in found]
        if not labels:
            raise ValueError("it has no label")
        fids = [fid for fid in shown_in.get(str(about.get("vid")), []) if fid in events]
        if not fids:
            raise ValueError(f"it is of view {shown(about.get('vid'))}, which shows no file of the project")
        for fid in fids:
            events[fid] += [make_event(label, times[0], times[-1]) for label in labels]

    source.each(_objects(content, "metadata").items(), take, where)
    videos: list[TimelineVideo] = []

    def add(fid: str) -> None:
        videos.append(
            TimelineVideo(_path(source, files[fid]), in_order(events[fid]), where=f"{source.path}: file {fid}")
        )

    source.each(files, add, lambda fid: f"{source.path}: file {fid}")
    return videos


@dataclass(frozen=True)
class _Attribute:
    """What a person chooses of a segment."""

    is_of_times: bool
    is_multiple: bool
    options: dict[str, str]
    """Labels by what segments refer to them with; empty if labels are written out."""

    @classmethod
    def of(cls, key: str, content: Any) -> _Attribute:
        about = expect(content, dict, f"attribute {key}")
        options = expect(about.get("options", {}), dict, f"the options of attribute {key}")
        return cls(about.get("anchor_id") in _TEMPORAL, about.get("type") == _CHECKBOX, options)

    def labels(self, value: Any) -> list[str]:
        """The labels that a value stands for; none if the attribute is not of times."""
        text = expect(value, str, "its label")
        if not self.is_of_times:
            return []
        chosen = text.split(",") if self.is_multiple else [text]
        for each in chosen:
            if self.options and each not in self.options:
                raise ValueError(f"its label is option {shown(each)}, which its attribute does not have")
        return [self.options.get(each, each) for each in chosen]


def _objects(content: dict[str, Any], name: str) -> dict[str, Any]:
    return {str(key): about for key, about in expect(content[name], dict, f"{name!r}").items()}


def _fids(key: str, content: Any) -> list[str]:
    listed = expect(content, dict, f"view {key}").get("fid_list")
    return [str(fid) for fid in expect(listed, list, f"the files of view {key}")]


def _path(source: Source, content: Any) -> str:
    """Where a file of the project is: at its address, or by its name below the root."""
    about = expect(content, dict, "its value")
    name, address = (str(about.get(key) or "") for key in ("fname", "src"))
    path = unquote(urlsplit(address).path) if "://" in address else address
    return path if path and is_file(path) else source.video(name or Path(path).name)


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
