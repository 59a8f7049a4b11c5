"""What an evaluation on long videos found, on disk: `timelines.json`, `events.csv` and `frames.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lsn.config import EventRules, from_mapping, to_mapping
from lsn.data.timelines.reading import write_timelines
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.errors import DataError, LSNError
from lsn.files import read_text, write_text
from lsn.parsing import parse_json
from lsn.streaming.timeline import Timeline
from lsn.streaming.timeline_evaluation import TimelineEvaluation, measured
from lsn.tensor_file import open_tensors, write_tensors
from lsn.video.writing.overlay import Track

METRICS_NAME, EVENTS_NAME, FRAMES_NAME = "timelines.json", "events.csv", "frames.safetensors"


def save_timelines(evaluation: TimelineEvaluation, folder: str | Path) -> None:
    """Writes what was found and what is true; each file appears whole or not at all."""
    folder, truth = Path(folder), evaluation.truth
    videos = [
        {
            "path": video.path,
            "group": video.group,
            "start_seconds": timeline.start_seconds,
            "duration_seconds": timeline.duration_seconds,
            "events": [[event.label, event.start_seconds, event.end_seconds] for event in video.events],
        }
        for video, timeline in zip(truth.videos, evaluation.timelines, strict=True)
    ]
    content = {
        "source": truth.source,
        "unlabelled": truth.unlabelled,
        "labels": list(evaluation.timelines[0].track.labels),
        "rules": to_mapping(evaluation.rules),
        "background": evaluation.background,
        "metrics": evaluation.metrics.to_dict(),
        "videos": videos,
        "unreadable": [{"path": path, "error": error} for path, error in evaluation.unreadable],
    }
    tensors = {}
    for number, timeline in enumerate(evaluation.timelines):
        tensors[f"{number}.seconds"] = timeline.track.seconds_T
        tensors[f"{number}.probabilities"] = timeline.track.probabilities_TK.astype(np.float32)
    write_tensors(folder / FRAMES_NAME, tensors)
    write_timelines(folder / EVENTS_NAME, evaluation.found)
    write_text(folder / METRICS_NAME, json.dumps(content) + "\n")


def load_timelines(folder: str | Path) -> TimelineEvaluation:
    """Reads what `save_timelines` wrote.

    Raises:
        DataError: a file is missing or damaged.
    """
    folder = Path(folder)
    path = folder / METRICS_NAME
    if not path.exists():
        raise DataError(f"{path}: no such file; `lsn evaluate --timelines --out` writes it")
    try:
        content = parse_json(read_text(path, "evaluation on timelines", error=DataError))
        return _loaded(content, folder)
    except (ArithmeticError, ValueError, LookupError, TypeError, AttributeError, LSNError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{path}: not a whole evaluation ({reason}); evaluate again") from error


def _loaded(content: Mapping[str, Any], folder: Path) -> TimelineEvaluation:
    rules = from_mapping(EventRules, content["rules"], where="rules")
    labels = tuple(content["labels"])
    with open_tensors(folder / FRAMES_NAME, "answers of an evaluation", framework="np") as file:
        tensors = file.read()
    videos, timelines = [], []
    for number, entry in enumerate(content["videos"]):
        events = (TimelineEvent(label, float(start), float(end)) for label, start, end in entry["events"])
        videos.append(TimelineVideo(entry["path"], tuple(events), group=entry["group"]))
        seconds_T, probabilities_TK = tensors[f"{number}.seconds"], tensors[f"{number}.probabilities"]
        if probabilities_TK.shape != (len(seconds_T), len(labels)):
            raise ValueError(f"{len(seconds_T)} moments with answers of {tuple(probabilities_TK.shape)}")
        track = Track(labels, probabilities_TK, seconds_T.astype(np.float64))
        start, duration = float(entry["start_seconds"]), float(entry["duration_seconds"])
        timelines.append(Timeline(entry["path"], track, (), (), start, duration).with_rules(rules))
    names = tuple(label for label in labels if label != rules.background)
    truth = TimelineManifest(content["source"], names, tuple(videos), content["unlabelled"])
    unreadable = tuple((entry["path"], entry["error"]) for entry in content["unreadable"])
    return measured(timelines, truth, rules, background=content["background"], unreadable=unreadable)
