"""What `stream` and `timeline` share: options of streams, and the predictor that they make."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsn.errors import ConfigError
from lsn.inference.runtimes.names import RuntimeName
from lsn.parsing import to_json

if TYPE_CHECKING:
    from lsn.config import EventRules
    from lsn.inference.runtimes.opening import ReadyModel
    from lsn.streaming import StreamingPredictor


@dataclass(frozen=True)
class EventOptions:
    """What a stream's answer is, and when it is an event."""

    consensus: str | None = None
    """cumulative, exponential:HALF_LIFE or sliding:WINDOW (seconds); by default a window as long as a training clip."""
    on_threshold: float | None = None
    """Probability that an event reaches; by default as fitted, or what 95% of the validation's right answers reach."""
    off_threshold: float | None = None
    """Probability below which an event ends; by default two thirds of the one to enter."""
    min_seconds: float | None = None
    """Shortest event; by default as fitted for the weights, or 0.25."""
    merge_seconds: float | None = None
    """An event goes on over pauses that are shorter; by default as fitted for the weights, or 0."""
    split_seconds: float | None = None
    """After so long, another class is another event and no correction; by default as fitted, or 1."""


@dataclass(frozen=True)
class StreamOptions(EventOptions):
    """How a stream is seen and what counts as an event."""

    fps: float | None = None
    """Frames per second that the model is given; by default the middle rate of its training clips."""
    max_gap: float = 1.0
    """Reset after so many seconds without a frame; until then the last one is held."""
    scene_cut: float | None = None
    """Reset at cuts, where FFmpeg's scene score (0 to 1) is above this, such as 0.4."""
    reset_every: float | None = None
    """Reset every so many seconds."""
    background: str | None = None
    """Class that stands for nothing and is never an event; by default as fitted for the weights, or none."""
    source_fps: float | None = None
    """Frames per second of folders of frames, which have no times (30 by default)."""
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one."""
    runtime: RuntimeName | None = None
    """pytorch, compiled (faster, after half a minute), or onnx or openvino, as lsn export wrote it into the weights."""


def streaming_predictor(
    weights: Path, options: StreamOptions, *, capacity: int = 1, ready: ReadyModel | None = None
) -> tuple[StreamingPredictor, list[str]]:
    """The predictor that the options ask for, and lines that say how it will see streams."""
    from lsn.inference.runtimes.opening import open_model
    from lsn.streaming import ResetRules, StreamingPredictor

    ready = ready or open_model(weights, options.runtime, device=options.device)
    events, source = _event_rules(weights, ready, options)
    predictor = StreamingPredictor(
        ready,
        capacity=capacity,
        fps=options.fps,
        consensus=options.consensus,
        resets=ResetRules(
            max_gap_seconds=options.max_gap, scene_cut=options.scene_cut, every_seconds=options.reset_every
        ),
        events=events,
    )
    bounds = f"events start at {events.on_threshold:.2f}{source} and end at {events.off_threshold:.2f}"
    return predictor, [predictor.describe(), bounds]


def named_sources(sources: Sequence[str], *, name: str | None = None) -> dict[str, str]:
    """Cameras, addresses, files and folders by the names of their streams, in the order of the command line.

    NAME=SOURCE names a stream; without a name it is called as its source, with passwords hidden. A file or folder that
    is there, an address, and what has a slash, backslash or colon before its = is a source without a name.

    Args:
        sources: as they were given.
        name: of the only source.

    Raises:
        ConfigError: two streams have one name, or a source has two.
    """
    from lsn.video.live.ffmpeg_input import redacted

    named: dict[str, str] = {}
    for given in sources:
        match = re.fullmatch(r"([^=/\\:]+)=(.+)", given, re.DOTALL)
        is_named = match is not None and not os.path.lexists(given)
        own_name, source = (match[1], match[2]) if match is not None and is_named else (redacted(given), given)
        if name is not None:
            if is_named or len(sources) > 1:
                raise ConfigError("--name is for one source without a name; name each of several, as in door=SOURCE")
            own_name = name
        if own_name in named:
            problem = "was given twice" if source == named[own_name] else "would name two streams"
            raise ConfigError(f"{own_name} {problem}; give each stream a name of its own, as in door=SOURCE")
        named[own_name] = source
    return named


def event_line(stream: str, event: Mapping[str, Any]) -> str:
    """An event, or what is reported of it, as a line of JSON."""
    return to_json({"stream": stream, **event})


def _event_rules(weights: Path, ready: ReadyModel, options: StreamOptions) -> tuple[EventRules, str]:
    """The rules of the weights, with what was asked for instead; and, for people, where the threshold comes from."""
    from lsn.streaming.default_rules import KEPT_ANSWERS, rules_at, validation_threshold

    rules, source = ready.events, " (fitted for these weights)"
    if rules is None:
        threshold = ready.validation_threshold
        if threshold is None and options.on_threshold is None:
            threshold = validation_threshold(weights)
        rules = rules_at(threshold)
        source = f" ({100 * KEPT_ANSWERS:.0f}% of the right answers of its validation do)" if threshold else ""
    on = rules.on_threshold if options.on_threshold is None else options.on_threshold
    off = rules.off_threshold / rules.on_threshold * on if options.off_threshold is None else options.off_threshold
    names = ("min_seconds", "merge_seconds", "split_seconds", "background")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return replace(rules, on_threshold=on, off_threshold=off, **given), "" if options.on_threshold else source
