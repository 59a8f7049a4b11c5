"""Label Studio's JSON with timeline labels.

Label Studio counts frames from 1, at the `frameRate` of the `<Video>` tag (24 unless it is set) and not by the video's
own frames: frame n is on screen from (n - 1) / frameRate on. Where the video has that rate throughout, these are its
frames. The last frame of a range belongs to it; a range of one frame is a point.

Source: Label Studio 1.2x, the documentation of `TimelineLabels` and `Video`, and its JSON export.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from lsn.data.clips.folders import VIDEO_SUFFIXES
from lsn.data.clips.windows import END_TOLERANCE_SECONDS
from lsn.data.timelines.frame_times import FrameTimes, RateTimes, check_rate, read_frame_times
from lsn.data.timelines.source import Source, expect, make_event, rate, whole_number
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.files import exists, write_text
from lsn.parsing import to_json

_TYPE = "timelinelabels"
_RATE_KEYS = ("fps", "frameRate", "framerate", "frame_rate")
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


def is_this(item: Any) -> bool:
    """Whether an item of a JSON list is a task of Label Studio."""
    return isinstance(item, dict) and "data" in item


def parse(source: Source, content: list[Any]) -> list[TimelineVideo]:
    """Tasks with one annotation each; tasks that nobody has annotated are left out with a warning."""
    videos: list[TimelineVideo] = []
    waiting: list[str] = []

    def where(numbered: tuple[int, Any]) -> str:
        number, task = numbered
        return f"{source.path}: task {task.get('id', number)}"

    def take(numbered: tuple[int, Any]) -> None:
        task = numbered[1]
        annotations = [a for a in expect(task.get("annotations", []), list, "annotations") if _counts(a)]
        if not annotations:
            waiting.append(where(numbered))
            return
        if len(annotations) > 1:
            raise ValueError(f"{len(annotations)} people have annotated it; keep one annotation of each task")
        data = expect(task["data"], dict, "data")
        path = source.video(_video_name(source, data))
        result = expect(annotations[0].get("result"), list, "the result of its annotation")
        regions = [region for region in result if expect(region, dict, "a region").get("type") == _TYPE]
        events: list[TimelineEvent] = []
        if regions:
            times = _times(source, data, path, where(numbered))
            for region in regions:
                events += _events(region, times)
        videos.append(TimelineVideo(path, in_order(events), where=where(numbered)))

    source.each(list(enumerate(content, start=1)), take, where)
    if waiting:
        source.warn(waiting[0], f"no annotation yet, as in {len(waiting) - 1} more tasks; they are left out")
    return videos


def _counts(annotation: Any) -> bool:
    return not expect(annotation, dict, "an annotation").get("was_cancelled")


def _video_name(source: Source, data: dict[str, Any]) -> str:
    """The path of a task's video as it may be found: as local files are addressed, below the root, or by its name."""
    addresses = [
        text for text in data.values() if isinstance(text, str) and _path_in(text).suffix.lower() in VIDEO_SUFFIXES
    ]
    if len(addresses) != 1:
        raise ValueError(f"its data names {len(addresses)} videos; expected one, with the suffix of a video")
    path = _path_in(addresses[0])
    plain = _UPLOAD_PREFIX.sub("", path.name)
    options = (str(path), f"/{path}", path.name, plain)
    return next((name for name in options if exists(Path(source.root, name))), plain)


def _path_in(address: str) -> Path:
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d") if parts.path.endswith("/data/local-files/") else None
    return Path(local[0] if local else unquote(parts.path) or address)


def _times(source: Source, data: dict[str, Any], path: str, where: str) -> FrameTimes | RateTimes:
    if source.fps is not None:
        return RateTimes(source.fps)
    given = next((data[key] for key in _RATE_KEYS if key in data), None)
    if given is None:
        raise ValueError(
            "its data has no fps, and the export does not say at which rate frames were counted; give the frameRate of "
            "the <Video> tag, which is 24 unless it was set (--fps 24)"
        )
    fps = rate(given, "the fps of its data")
    times = read_frame_times(path)
    if not times.is_even:
        return RateTimes(fps)
    check_rate(fps, times, where, path)
    return times


def _events(region: dict[str, Any], times: FrameTimes | RateTimes) -> list[TimelineEvent]:
    value = expect(region.get("value"), dict, "the value of a region")
    events = []
    for span in expect(value.get("ranges"), list, "the ranges of a region"):
        start, end = (whole_number(expect(span, dict, "a range").get(name), f"its {name}") for name in ("start", "end"))
        if not 1 <= start <= end:
            raise ValueError(f"a range from frame {start} to {end}; frames count from 1, and it must not end before")
        if isinstance(times, FrameTimes):  # Label Studio counts by time, and may count on behind the last frame
            most = times.num_frames + round(END_TOLERANCE_SECONDS * times.fps)
            end = min(end, times.num_frames) if end <= most else end
        ends = start - 1 if start == end else end
        labels = expect(value.get(_TYPE), list, f"the {_TYPE} of a region")
        events += [make_event(label, times.start_of(start - 1), times.start_of(ends)) for label in labels]
    return events


def write(path: Path, manifest: TimelineManifest) -> None:
    """Writes tasks to import: with predictions where the events have a confidence, else with annotations.

    Each task's data has the video's own rate as `fps`, for `frameRate="$fps"` in the `<Video>` tag. Times are rounded
    to frames of that rate.

    Raises:
        VideoError: a video cannot be opened, so that its rate is not known.
    """
    is_found = any(event.confidence is not None for video in manifest.videos for event in video.events)
    tasks = []
    for number, video in enumerate(manifest.videos, start=1):
        fps = read_frame_times(video.path).fps
        regions = [_region(event, fps, f"{number}-{index}") for index, event in enumerate(video.events)]
        scores = [event.confidence for event in video.events if event.confidence is not None]
        made: dict[str, Any] = {"annotations": [{"result": regions}]}
        if is_found:
            score = sum(scores) / len(scores) if scores else 0.0
            made = {"predictions": [{"model_version": "lsn", "score": score, "result": regions}]}
        address = f"/data/local-files/?d={quote(video.file.lstrip('/'))}"
        tasks.append({"id": number, "data": {"video": address, "fps": fps}, **made})
    write_text(path, to_json(tasks) + "\n")


def _region(event: TimelineEvent, fps: float, name: str) -> dict[str, Any]:
    start = round(event.start_seconds * fps) + 1
    end = start if event.is_point else max(start + 1, round(event.end_seconds * fps))
    value = {"ranges": [{"start": start, "end": end}], _TYPE: [event.label]}
    score = {} if event.confidence is None else {"score": event.confidence}
    about = {"id": name, "from_name": "timeline", "to_name": "video", "type": _TYPE, "origin": "manual"}
    return {**about, "value": value, **score}
