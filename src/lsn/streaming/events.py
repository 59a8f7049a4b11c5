"""From probabilities over time to events: what, from when to when, how sure.

Shapes: K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lsn.errors import ConfigError, did_you_mean
from lsn.streaming.snapshot_arrays import kept_array

if TYPE_CHECKING:
    from lsn.evaluation.result import PredictionRow


@dataclass(frozen=True)
class EventRules:
    """When probabilities are an event."""

    on_threshold: float = 0.6
    """An event needs a probability of at least this at some time ..."""
    off_threshold: float = 0.4
    """... and lasts as long as the probability is at least this."""
    min_seconds: float = 0.25
    """Shorter ones are left out."""
    background: str | None = None
    """Label of the class that stands for nothing, which is never an event."""

    def __post_init__(self) -> None:
        if not 0 < self.off_threshold <= self.on_threshold <= 1:
            raise ConfigError(
                f"events start at {self.on_threshold} and end at {self.off_threshold}; "
                "needed: 0 < off_threshold <= on_threshold <= 1"
            )
        if not 0 <= self.min_seconds < math.inf:
            raise ConfigError(f"events of at least {self.min_seconds} seconds; it must be 0 or more")


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    label: str
    """What."""
    start_seconds: float
    """When its probability came to the lower threshold."""
    end_seconds: float
    """When it fell below, or the stream ended or was reset."""
    confidence: float
    """Mean of its probability in between."""
    peak: float
    """Largest probability."""


class EventDetector:
    """Events of one stream, class by class, with hysteresis: two thresholds, so that flicker does not split them.

    Two classes can have an event at the same time only if `off_threshold` is at most a half.

    Args:
        labels: names of the K classes.
        rules: when probabilities are an event.

    Raises:
        ConfigError: the background is not one of the labels.
    """

    def __init__(self, labels: Sequence[str], rules: EventRules) -> None:
        self.labels, self.rules = tuple(labels), rules
        if rules.background is not None and rules.background not in self.labels:
            raise ConfigError(f"background {rules.background!r}; {did_you_mean(rules.background, self.labels)}")
        self._can_be = np.array([label != rules.background for label in self.labels])
        self._start = np.full(len(self.labels), np.nan)  # since when each class is above the lower threshold
        self._sum = np.zeros(len(self.labels))
        self._count = np.zeros(len(self.labels))
        self._peak = np.zeros(len(self.labels))

    def update(self, seconds: float, probabilities_K: np.ndarray) -> list[Event]:
        """Takes the probabilities at a time, later than the one before; returns the events that end here."""
        is_above = (probabilities_K >= self.rules.off_threshold) & self._can_be
        ended = self._end(~is_above, seconds)
        begins = is_above & np.isnan(self._start)
        self._start[begins] = seconds
        self._sum[is_above] += probabilities_K[is_above]
        self._count[is_above] += 1
        self._peak[is_above] = np.maximum(self._peak, probabilities_K)[is_above]
        return ended

    def finish(self, seconds: float) -> list[Event]:
        """Ends what is going on; returns the events."""
        return self._end(np.ones(len(self.labels), dtype=bool), seconds)

    def under_way(self, seconds: float) -> list[Event]:
        """What is going on, as it would be reported if it ended now; it goes on."""
        return self._events(np.ones(len(self.labels), dtype=bool), seconds)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it knows of what is going on."""
        return {"tracks": np.stack([self._start, self._sum, self._count, self._peak])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` gave.

        Raises:
            WeightsError: these are not such arrays for K classes.
        """
        tracks = kept_array(arrays, "tracks", dtype=np.float64, shape=[4, len(self.labels)])
        self._start, self._sum, self._count, self._peak = tracks.copy()

    def _end(self, ends: np.ndarray, seconds: float) -> list[Event]:
        events = self._events(ends, seconds)
        self._start[ends] = np.nan
        self._sum[ends] = self._count[ends] = self._peak[ends] = 0
        return events

    def _events(self, ends: np.ndarray, seconds: float) -> list[Event]:
        events = []
        for index in np.flatnonzero(ends & ~np.isnan(self._start)).tolist():
            start, peak = float(self._start[index]), float(self._peak[index])
            if peak >= self.rules.on_threshold and seconds - start >= self.rules.min_seconds:
                confidence = float(self._sum[index] / self._count[index])
                events.append(Event(self.labels[index], start, seconds, confidence, peak))
        return events


def fit_threshold(rows: Iterable[PredictionRow], *, kept: float = 0.95) -> float | None:
    """The confidence that `kept` of the right answers on a validation set have: below it, better say nothing.

    It is an open-set threshold in the sense that no example of "nothing" is needed for it. None without a right answer.

    Raises:
        ConfigError: `kept` is not in (0, 1].
    """
    if not 0 < kept <= 1:
        raise ConfigError(f"a share of {kept} right answers to keep; it must be above 0 and at most 1")
    confidences = sorted(row.confidence for row in rows if row.correct)
    if not confidences:
        return None
    return confidences[len(confidences) - math.ceil(kept * len(confidences) - 1e-9)]
