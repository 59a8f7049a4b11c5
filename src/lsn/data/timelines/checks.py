"""What is looked at before training on timelines starts. Every check lists what it finds; none stops at the first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lsn.data.clips.table import Problem
from lsn.data.clips.text import listing, suggestions
from lsn.data.clips.windows import END_TOLERANCE_SECONDS
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.errors import VideoError, shown
from lsn.files import exists, is_folder
from lsn.hardware import usable_cores
from lsn.video import VideoInfo, open_video


def label_problems(manifest: TimelineManifest, background: str) -> list[Problem]:
    """No video or no event, labels that are not among those given, the background as an event, and near spellings."""
    if not manifest.videos:
        return [Problem("error", "no usable videos", manifest.source)]
    first: dict[str, tuple[TimelineVideo, TimelineEvent]] = {}
    for video in manifest.videos:
        for event in video.events:
            first.setdefault(event.label, (video, event))
    problems = [] if manifest.labels else [Problem("warning", "no usable events in any video", manifest.source)]
    hints = suggestions([label for label in first if label not in manifest.labels], manifest.labels)
    for label, hint in hints.items():
        problems.append(Problem("error", f"unknown label {shown(label)}; {hint}", where_of(*first[label])))
    if background in manifest.labels and manifest.unlabelled == "background":
        message = (
            f"{shown(background)} is the name of the background and of an event; leave such events out, as all time "
            "without an event is background unless it is unknown (--unlabelled, timelines.unlabelled), or give the "
            "background another name (--background, timelines.background)"
        )
        problems.append(Problem("error", message, where_of(*first[background]) if background in first else ""))
    return problems + _spellings(manifest)


def where_of(video: TimelineVideo, event: TimelineEvent) -> str:
    """Where an event is listed, as exactly as its format allows."""
    if not event.line:
        return video.where
    return f"{re.sub(r' line [0-9]+$', '', video.where)} line {event.line}"


def check_timelines(
    manifest: TimelineManifest,
    *,
    background: str = "background",
    multi_label: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Problem]:
    """Checks one split: labels, videos that are missing, listed twice or unreadable, and the times of all events.

    Args:
        manifest: what is checked.
        background: name of the background.
        multi_label: events may overlap.
        progress: called with the videos opened and their number.
    """
    problems = label_problems(manifest, background)
    seen: dict[str, TimelineVideo] = {}
    for video in manifest.videos:
        if (other := seen.setdefault(video.file, video)) is not video:
            problems.append(Problem("error", f"{video.path} is listed twice; first in {other.where}", video.where))
        problems += _overlaps(video, multi_label)
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # decoders release the interpreter's lock
        for number, found in enumerate(pool.map(_file_problems, manifest.videos), start=1):
            problems += found
            if progress is not None:
                progress(number, len(manifest))
    return problems


def split_problems(train: TimelineManifest, other: TimelineManifest, *, name: str = "val") -> list[Problem]:
    """Videos or groups that both splits hold, and labels that only one of them has."""
    in_train, in_other = train.num_events(), other.num_events()
    problems = [
        Problem("error", f"{shown(label)} occurs {number} times here and never in train", other.source)
        for label, number in in_other.items()
        if not in_train[label]
    ]
    missing = [label for label in in_train if not in_other[label]]
    if missing:
        problems.append(Problem("warning", f"no event in {name} of {listing(sorted(missing))}", other.source))
    return problems + leak_problems(train, other, names=("train", name))


def leak_problems(one: TimelineManifest, other: TimelineManifest, *, names: tuple[str, str]) -> list[Problem]:
    """Videos or groups that both splits hold."""
    problems = []
    files = {video.file for video in one.videos}
    leaks = [video for video in other.videos if video.file in files]
    if leaks:
        message = f"{leaks[0].path} is in {names[0]}, too ({len(leaks)} such videos); each belongs in one split"
        problems.append(Problem("error", message, leaks[0].where))
    groups = {video.group for video in one.videos} & {video.group for video in other.videos} - {""}
    if groups:
        message = f"groups in {names[0]} and in {names[1]}: {listing(sorted(groups))}; leave out one side"
        problems.append(Problem("error", message, other.source))
    return problems


def _spellings(manifest: TimelineManifest) -> list[Problem]:
    """Labels that differ in case, blanks and signs alone."""
    number_of = manifest.num_events()
    same: dict[str, list[str]] = {}
    for label in number_of:
        same.setdefault("".join(filter(str.isalnum, label.casefold())) or label, []).append(label)
    return [
        Problem("warning", f"{names}: is this one label in {len(labels)} spellings?", manifest.source)
        for labels in same.values()
        if len(labels) > 1
        and (names := " and ".join(f"{shown(label)} ({number_of[label]} events)" for label in labels))
    ]


def _overlaps(video: TimelineVideo, multi_label: bool) -> list[Problem]:
    """Events at the same time, which one answer for each frame cannot name; and events listed twice."""
    problems = []
    latest: dict[str, TimelineEvent] = {}  # of each label, the one that ends last
    for event in video.events:
        others = [before for before in latest.values() if before.end_seconds > event.start_seconds]
        if clashing := [before for before in others if not multi_label or before.label == event.label]:
            is_same = clashing[0].label == event.label
            remedy = (
                "join them or keep one" if is_same else "end one before, or allow it (--multi-label, model.multi_label)"
            )
            message = f"{video.path}: {clashing[0]} and {event} overlap; {remedy}"
            problems.append(Problem("error", message, where_of(video, event)))
        if event.label not in latest or event.end_seconds > latest[event.label].end_seconds:
            latest[event.label] = event
    points = Counter((event.label, event.start_seconds) for event in video.events if event.is_point)
    for (label, seconds), number in points.items():
        if number > 1:
            message = f"{video.path}: {label!r} at {seconds:g} s is listed {number} times"
            problems.append(Problem("warning", message, video.where))
    return problems


def _file_problems(video: TimelineVideo) -> list[Problem]:
    """A file that is not there or cannot be opened, and events outside of it."""
    if not exists(video.path):
        message = f"no such video: {video.path}; give the folder of the videos (--root, data.root)"
        return [Problem("error", message, video.where)]
    if is_folder(video.path):
        message = (
            f"{video.path} is a folder of frames, which have no times; make a video of it with its rate, such as "
            "ffmpeg -framerate 25 -i frames/%05d.jpg video.mp4"
        )
        return [Problem("error", message, video.where)]
    try:
        with open_video(video.path) as reader:
            info: VideoInfo = reader.info
    except VideoError as error:
        return [Problem("error", str(error), video.where)]
    return [
        Problem("error", f"{event} lies beyond {video.path}, which ends at {info.duration_seconds:.3f} s", where)
        for event, where in _beyond(video, info.duration_seconds)
    ]


def _beyond(video: TimelineVideo, duration_seconds: float) -> Sequence[tuple[TimelineEvent, str]]:
    return [
        (event, where_of(video, event))
        for event in video.events
        if event.start_seconds >= duration_seconds or event.end_seconds > duration_seconds + END_TOLERANCE_SECONDS
    ]
