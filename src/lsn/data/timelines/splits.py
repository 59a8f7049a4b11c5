"""Train, validation and test timelines, checked against each other, with one order of labels."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lsn.config import DataConfig, TimelineConfig
from lsn.data.clips.table import Problem, raise_on_errors
from lsn.data.timelines.checks import check_timelines, leak_problems, split_problems
from lsn.data.timelines.reading import parse_timelines
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.errors import DataError, VideoError
from lsn.hardware import usable_cores
from lsn.video import open_video

logger = logging.getLogger(__name__)


def load_timelines(
    data: DataConfig, timelines: TimelineConfig, seed: int, *, multi_label: bool = False
) -> tuple[TimelineManifest, TimelineManifest, TimelineManifest | None]:
    """The videos to train on, to validate on and, if the recipe names any, to test on.

    Warnings are logged.

    Args:
        data: the recipe's section.
        timelines: likewise.
        seed: decides what is set aside where `data.val` is not given.
        multi_label: events may overlap.

    Raises:
        DataError: lists up to ten of all problems found and the number of the rest.
    """
    if not data.train:
        raise DataError("data.train is not set; give a file or folder of timelines, data.train=PATH")
    train, problems = _parse(data.train, data, timelines, data.labels)
    problems += check_timelines(train, background=timelines.background, multi_label=multi_label)
    if not any(label != timelines.background for label in train.labels):
        problems.append(Problem("error", "there is no event to learn", train.source))
    if timelines.unlabelled == "unknown" and timelines.background not in train.labels and not multi_label:
        message = (
            f"time without an event is unknown, and no span is listed as {timelines.background!r}, so nothing shows "
            "what is no event; list such spans, or set timelines.unlabelled=background"
        )
        problems.append(Problem("error", message, train.source))
    raise_on_errors(problems)
    if data.val is None:
        train, val = split_timelines(train, val_fraction=data.val_fraction, seed=seed)
    else:
        val = _other(data.val, data, timelines, train, multi_label)
    raise_on_errors(split_problems(train, val))
    if data.test is None:
        return train, val, None
    test = _other(data.test, data, timelines, train, multi_label)
    raise_on_errors([*split_problems(train, test, name="test"), *leak_problems(val, test, names=("val", "test"))])
    return train, val, test


def split_timelines(
    manifest: TimelineManifest, *, val_fraction: float, seed: int = 0
) -> tuple[TimelineManifest, TimelineManifest]:
    """Sets a share of the videos aside, whole groups where there are any.

    Args:
        manifest: what is split.
        val_fraction: share of the videos that is wanted in val; every label keeps an event in train.
        seed: another seed sets other videos aside.

    Raises:
        DataError: there is only one video or group, or each holds all events of a label.
    """
    groups: dict[str, list[TimelineVideo]] = {}
    for video in manifest.videos:
        groups.setdefault(video.group or video.file, []).append(video)
    order = list(groups)
    random.Random(f"split/{seed}").shuffle(order)
    left = manifest.num_events()
    chosen: set[str] = set()
    num_chosen, any_event = 0, False
    for group in order[:-1]:
        of_group = Counter(event.label for video in groups[group] for event in video.events)
        is_wanted = num_chosen < val_fraction * len(manifest) or (of_group and not any_event)
        if is_wanted and all(left[label] > number for label, number in of_group.items()):
            chosen.add(group)
            num_chosen += len(groups[group])
            left -= of_group
            any_event = any_event or bool(of_group)
    if not any_event:
        raise DataError(
            f"{manifest.source}: no video or group with events can be set aside to validate on, as train would lack a "
            "label or everything; give data.val"
        )
    train = [video for video in manifest.videos if (video.group or video.file) not in chosen]
    val = [video for video in manifest.videos if (video.group or video.file) in chosen]
    return replace(manifest, videos=tuple(train)), replace(manifest, videos=tuple(val))


def _other(
    path: str, data: DataConfig, timelines: TimelineConfig, train: TimelineManifest, multi_label: bool
) -> TimelineManifest:
    manifest, problems = _parse(path, data, timelines, data.labels or train.labels)
    raise_on_errors(problems + check_timelines(manifest, background=timelines.background, multi_label=multi_label))
    return manifest


def _parse(
    path: str, data: DataConfig, timelines: TimelineConfig, labels: Sequence[str] | str | None
) -> tuple[TimelineManifest, list[Problem]]:
    manifest, problems = parse_timelines(
        path,
        root=data.root,
        labels=labels,
        group_column=data.group_column,
        fps=timelines.annotation_fps,
        unlabelled=timelines.unlabelled,
        background=timelines.background,
    )
    subsets = sorted({video.subset for video in manifest.videos} - {""})
    if len(subsets) > 1:
        names = " and ".join(map(repr, subsets))
        raise DataError(
            f"{path}: holds the subsets {names}, which would be mixed; write each to a table of its own "
            f"(lsn data convert {path} {subsets[0]}.csv --subset {subsets[0]})"
        )
    return (without_unreadable(manifest) if data.on_unreadable == "skip" else manifest), problems


def without_unreadable(manifest: TimelineManifest) -> TimelineManifest:
    """The videos that can be opened; the others are logged."""

    def can_be_opened(video: TimelineVideo) -> bool:
        try:
            with open_video(video.path):
                return True
        except VideoError as error:
            logger.warning("left out: %s: %s", video.where, error)
            return False

    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # decoders release the interpreter's lock
        is_sound = list(pool.map(can_be_opened, manifest.videos))
    kept = tuple(video for video, sound in zip(manifest.videos, is_sound, strict=True) if sound)
    return replace(manifest, videos=kept)
