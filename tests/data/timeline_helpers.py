"""What tests of timelines share: files whose frames are numbered, and what is asked of a format."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from lsn.data.timelines.table import TimelineEvent, TimelineManifest
from lsn.video import open_video

NUM_FRAMES, RATE = 240, Fraction(30000, 1001)
NAMES = ("one", "two", "three")


def frame_seconds(frame: int) -> float:
    """When a frame comes on screen, by the arithmetic of the rate."""
    return float(frame / RATE)


def facts(manifest: TimelineManifest) -> dict[str, list[tuple]]:
    """All that is asked of a format, by the video's name."""
    return {
        Path(video.path).stem: [
            (e.label, round(e.start_seconds, 9), round(e.end_seconds, 9), e.confidence) for e in video.events
        ]
        for video in manifest.videos
    }


def shown_frames(path: Path, event: TimelineEvent) -> tuple[int, int]:
    """Numbers in the pictures of the first and the last frame of an event, decoded."""
    with open_video(path) as reader:
        times = reader.pts_seconds - reader.pts_seconds[0]
        inside = np.flatnonzero((times >= event.start_seconds - 1e-6) & (times < event.end_seconds - 1e-6))
        frames = reader.frames_at([int(inside[0]), int(inside[-1])]).frames_THWC
    bars = [frame[4, 4::8].mean(axis=-1) > 127 for frame in frames]
    first, last = (sum(int(bar) << bit for bit, bar in enumerate(found)) for found in bars)
    return first, last


def task(video: str, *regions: tuple[int, int, str], **data: object) -> dict:
    """A task as Label Studio exports it, with what we do not read."""
    result = [
        {
            "original_length": 8.008,
            "id": f"region{number}",
            "type": "timelinelabels",
            "from_name": "timelineLabels",
            "to_name": "video",
            "origin": "manual",
            "value": {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]},
        }
        for number, (start, end, label) in enumerate(regions)
    ]
    annotation = {
        "id": 7,
        "completed_by": 1,
        "was_cancelled": False,
        "ground_truth": False,
        "result": result,
        "lead_time": 9.1,
    }
    about = {"file_upload": video, "drafts": [], "predictions": [], "meta": {}, "inner_id": 1, "project": 1}
    return {"id": 1, "annotations": [annotation], "data": {"video": video, **data}, **about}
