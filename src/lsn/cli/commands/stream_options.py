"""What `stream` and `timeline` share: options of streams, and the predictor that they make."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsn.errors import ConfigError
from lsn.parsing import to_json

if TYPE_CHECKING:
    from lsn.streaming import EventRules, StreamingPredictor

KEPT_ANSWERS = 0.95
"""Share of the right answers on the validation set that the fitted threshold keeps."""


@dataclass(frozen=True)
class EventOptions:
    """What a stream's answer is, and when it is an event."""

    consensus: str | None = None
    """cumulative, exponential:HALF_LIFE or sliding:WINDOW (seconds); by default a window as long as a training clip."""
    on_threshold: float | None = None
    """Probability that an event reaches; by default what 95% of the right answers of the validation reach."""
    off_threshold: float | None = None
    """Probability below which an event ends; by default two thirds of the one to enter."""
    min_seconds: float = 0.25
    """Shortest event."""
    merge_seconds: float = 0.0
    """An event goes on over pauses that are shorter."""
    split_seconds: float = 1.0
    """After so long, another class is another event; before, it corrects the one that goes on."""


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
    """Class that stands for nothing; it is never an event."""
    source_fps: float | None = None
    """Frames per second of folders of frames, which have no times (30 by default)."""
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one."""
    compile: bool = False
    """Run the network through PyTorch's compiler: faster, after half a minute."""


def streaming_predictor(
    weights: Path, options: StreamOptions, *, capacity: int = 1
) -> tuple[StreamingPredictor, list[str]]:
    """The predictor that the options ask for, and lines that say how it will see streams."""
    from lsn.streaming import ResetRules, StreamingPredictor

    events, fitted = _event_rules(weights, options)
    predictor = StreamingPredictor(
        weights,
        capacity=capacity,
        device=options.device,
        fps=options.fps,
        consensus=options.consensus,
        resets=ResetRules(
            max_gap_seconds=options.max_gap, scene_cut=options.scene_cut, every_seconds=options.reset_every
        ),
        events=events,
        compile=options.compile,
    )
    bounds = f"events start at {events.on_threshold:.2f}{fitted} and end at {events.off_threshold:.2f}"
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


def _event_rules(weights: Path, options: StreamOptions) -> tuple[EventRules, str]:
    """The rules, with a threshold fitted on the validation of the weights if there is one and none was given."""
    from lsn.evaluation.result import SUMMARY_NAME, load_evaluation
    from lsn.streaming import EventRules, fit_threshold

    start, fitted = options.on_threshold, ""
    if start is None and (weights / SUMMARY_NAME).is_file():
        rows = load_evaluation(weights).rows
        start = fit_threshold(rows, kept=KEPT_ANSWERS)
        num_right = sum(row.correct for row in rows)
        fitted = f" ({100 * KEPT_ANSWERS:.0f}% of the {num_right} right answers of its validation do)" if start else ""
    start = EventRules.on_threshold if start is None else start
    end = 2 / 3 * start if options.off_threshold is None else options.off_threshold
    rules = EventRules(
        on_threshold=start,
        off_threshold=end,
        min_seconds=options.min_seconds,
        merge_seconds=options.merge_seconds,
        split_seconds=options.split_seconds,
        background=options.background,
    )
    return rules, fitted
