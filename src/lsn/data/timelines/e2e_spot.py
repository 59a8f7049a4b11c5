"""E2E-Spot's JSON: events that are points, by the number of the frame.

Source: Hong et al., Spotting temporally precise, fine-grained events in video, ECCV 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lsn.data.timelines.frame_times import FrameTimes, RateTimes, check_rate, read_frame_times
from lsn.data.timelines.source import Source, expect, ids_of, make_event, rate, whole_number
from lsn.data.timelines.table import TimelineManifest, TimelineVideo, in_order
from lsn.errors import DataError
from lsn.files import write_text
from lsn.parsing import to_json


def is_this(item: Any) -> bool:
    """Whether an item of a JSON list is of this format."""
    return isinstance(item, dict) and "video" in item and "events" in item


def parse(source: Source, content: list[Any]) -> list[TimelineVideo]:
    """Videos by name, with events at frames that count from 0."""
    videos: list[TimelineVideo] = []

    def where(item: Any) -> str:
        return f"{source.path}: video {item['video']!r}"

    def take(item: Any) -> None:
        path = source.video(expect(item["video"], str, "its name"))
        times: FrameTimes | RateTimes = source.frame_times(path)
        if isinstance(times, FrameTimes):
            check_rate(rate(item.get("fps"), "its fps"), times, where(item), path)
        events = []
        for number, found in enumerate(expect(item["events"], list, "its list of events"), start=1):
            event = expect(found, dict, f"event {number}")
            frame = whole_number(event.get("frame"), f"the frame of event {number}")
            if isinstance(times, FrameTimes) and frame >= times.num_frames:
                raise ValueError(f"event {number} is at frame {frame}, but {path} has {times.num_frames} frames")
            seconds = times.start_of(frame)
            events.append(make_event(event.get("label"), seconds, seconds, confidence=event.get("score")))
        videos.append(TimelineVideo(path, in_order(events), where=where(item)))

    source.each(content, take, where)
    return videos


def write(path: Path, manifest: TimelineManifest) -> None:
    """Writes points at the frames of the videos.

    Raises:
        DataError: an event has a duration, which this format cannot hold.
        VideoError: a video cannot be opened, so that its frames are not known.
    """
    content = []
    for name, video in ids_of(manifest.videos, path).items():
        times, events = read_frame_times(video.path), []
        for event in video.events:
            if not event.is_point:
                raise DataError(
                    f"{path}: {event} of {video.path} has a duration, which this format cannot store; write .csv"
                )
            score = {} if event.confidence is None else {"score": event.confidence}
            events.append({"frame": times.frame_at(event.start_seconds), "label": event.label, "comment": "", **score})
        about = {"num_frames": times.num_frames, "num_events": len(events), "fps": times.fps}
        content.append({"video": name, **about, "events": events})
    write_text(path, to_json(content) + "\n")
