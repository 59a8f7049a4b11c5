"""From probabilities over time to events: what, from when to when, how sure; reported while they happen.

Segment first, name afterwards: an event is a time in which something goes on, whatever it is; what it is follows from
all that was seen of it.

Shapes: K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lsn.config import EventRules
from lsn.errors import ConfigError, WeightsError, did_you_mean
from lsn.streaming.snapshot_arrays import kept_array
from lsn.video.frame_sampler import SAME_TIME_SECONDS

if TYPE_CHECKING:
    from lsn.evaluation.result import PredictionRow


@dataclass(frozen=True)
class Event:
    """Something that happened, or goes on."""

    id: int
    """Number of the event in its stream, from 1."""
    label: str
    """What, by all that was seen of it so far."""
    start_seconds: float
    """When the probability that something goes on came to the lower threshold."""
    end_seconds: float
    """When it fell below, or the stream ended or was reset; while it goes on, the time of the report."""
    confidence: float
    """Mean of the label's probability in between."""
    peak: float
    """Largest probability of the label."""
    peak_seconds: float
    """When it had that: the time of an event that is a point."""


@dataclass(frozen=True)
class EventReport:
    """What is said of an event at a moment."""

    kind: Literal["new", "update", "end"]
    """It is there; its label is another than was said; it is over."""
    event: Event
    """As it is known by then."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return {"report": self.kind, **asdict(self.event)}


class EventDetector:
    """Events of one stream, one at a time, with hysteresis: two thresholds, so that flicker does not split them.

    Args:
        labels: names of the K classes.
        rules: when probabilities are an event.
        next_id: gives each event its number; by default they are counted from 1.

    Raises:
        ConfigError: the background is not one of the labels.
    """

    def __init__(self, labels: Sequence[str], rules: EventRules, *, next_id: Callable[[], int] | None = None) -> None:
        self.labels, self.rules = tuple(labels), rules
        if rules.background is not None and rules.background not in self.labels:
            raise ConfigError(f"background {rules.background!r}; {did_you_mean(rules.background, self.labels)}")
        self._can_be = np.array([label != rules.background for label in self.labels])
        self._num_begun = 0
        self._next_id = next_id or self._count
        self._run: _Run | None = None

    def update(self, seconds: float, probabilities_K: np.ndarray) -> list[EventReport]:
        """Takes the probabilities at a time, later than the one before; returns what there is to say of events."""
        return [report for _, report in self.follow(np.array([seconds]), probabilities_K[None])]

    def follow(self, seconds_T: np.ndarray, probabilities_TK: np.ndarray) -> list[tuple[float, EventReport]]:
        """The same for several times; returns the reports with their times."""
        of_classes_TK = np.where(self._can_be, probabilities_TK, 0.0).astype(np.float64)
        going_on_T = of_classes_TK.max(axis=1)
        if self.rules.background is not None:
            going_on_T = 1.0 - probabilities_TK[:, ~self._can_be].sum(axis=1).astype(np.float64)
        times = zip(seconds_T.tolist(), of_classes_TK, going_on_T.tolist(), strict=True)
        return [(seconds, report) for seconds, row_K, on in times for report in self._advance(seconds, row_K, on)]

    def _advance(self, seconds: float, of_classes_K: np.ndarray, going_on: float) -> list[EventReport]:
        """Takes in a moment: the probability of each class that can be an event, and that anything goes on."""
        is_on = going_on >= self.rules.off_threshold
        reports = self._pause(seconds, is_over=is_on)
        if not is_on:
            return reports
        if self._run is None:
            self._run = _Run.begin(seconds, of_classes_K, self._next_id())
        self._run.add(seconds, of_classes_K, going_on, half_life=self.rules.memory_seconds)
        return reports + self._name(self._run, seconds)

    def finish(self, seconds: float) -> list[EventReport]:
        """Ends what is going on; returns the reports."""
        run, self._run = self._run, None
        return [] if run is None else self._end(run, run.end_at(seconds))

    def under_way(self, seconds: float) -> list[EventReport]:
        """What is going on, as it would be reported if it ended now; it goes on."""
        return [] if self._run is None else self._end(self._run, self._run.end_at(seconds))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it knows of what is going on."""
        kept = {"num_begun": np.array(self._num_begun, dtype=np.int64)}
        return kept if self._run is None else {**kept, **self._run.arrays()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` gave.

        Raises:
            WeightsError: these are not such arrays for K classes.
        """
        self._num_begun = int(kept_array(arrays, "num_begun", dtype=np.int64, shape=[]))
        self._run = _Run.of(arrays, num_classes=len(self.labels)) if "run" in arrays else None

    def _count(self) -> int:
        self._num_begun += 1
        return self._num_begun

    def _pause(self, seconds: float, *, is_over: bool) -> list[EventReport]:
        """Ends the run if nothing has gone on for long enough; a pause begins now, goes on, or is over."""
        run = self._run
        if run is None or (is_over and math.isnan(run.below_since)):
            return []
        if math.isnan(run.below_since):
            run.below_since = seconds
        if seconds - run.below_since < self.rules.merge_seconds - SAME_TIME_SECONDS:
            return []
        self._run = None
        return self._end(run, run.below_since)

    def _name(self, run: _Run, seconds: float) -> list[EventReport]:
        """What there is to say of a run that goes on: that it is there, or that it is something else."""
        reports: list[EventReport] = []
        best = int(run.evidence_K.argmax())
        if best != run.label:
            led_seconds = run.others_since - run.label_since
            if run.is_reported and led_seconds >= self.rules.split_seconds - SAME_TIME_SECONDS:
                reports += self._end(run, run.others_since)
                run = self._run = run.split(best, self._next_id())
            else:
                run.relabel(best)
                if run.is_reported:
                    reports.append(EventReport("update", self._event(run, seconds)))
        if not run.is_reported and self._is_event(run, seconds):
            run.is_reported = True
            reports.append(EventReport("new", self._event(run, seconds)))
        return reports

    def _is_event(self, run: _Run, seconds: float) -> bool:
        lasted_seconds = seconds - run.start_seconds + SAME_TIME_SECONDS
        return (
            max(run.seen.peak, run.others.peak) >= self.rules.on_threshold and lasted_seconds >= self.rules.min_seconds
        )

    def _end(self, run: _Run, seconds: float) -> list[EventReport]:
        """The end of a run, with its beginning if that was not reported; nothing if it was no event."""
        if run.is_reported:
            return [EventReport("end", self._event(run, seconds))]
        if not self._is_event(run, seconds):
            return []
        event = self._event(run, seconds)
        return [EventReport("new", event), EventReport("end", event)]

    def _event(self, run: _Run, seconds: float) -> Event:
        label = run.label
        # What others led at the end belongs to another event if this one ended before.
        seen = run.seen if seconds <= run.others_since else run.seen.joined(run.others)
        return Event(
            id=run.id,
            label=self.labels[label],
            start_seconds=run.start_seconds,
            end_seconds=seconds,
            confidence=float(seen.sum_K[label] / seen.count),
            peak=float(seen.peak_K[label]),
            peak_seconds=float(seen.peak_seconds_K[label]),
        )


@dataclass(frozen=True)
class _Seen:
    """Some frames, added up."""

    sum_K: np.ndarray
    peak_K: np.ndarray
    peak_seconds_K: np.ndarray
    count: float = 0.0
    peak: float = 0.0
    """Largest probability that anything goes on."""

    @classmethod
    def nothing(cls, num_classes: int) -> _Seen:
        return cls(np.zeros(num_classes), np.zeros(num_classes), np.zeros(num_classes))

    @classmethod
    def frame(cls, seconds: float, of_classes_K: np.ndarray, going_on: float) -> _Seen:
        return cls(of_classes_K, of_classes_K, np.full(len(of_classes_K), seconds), 1.0, going_on)

    def joined(self, later: _Seen) -> _Seen:
        """These frames and later ones."""
        is_higher_K = later.peak_K > self.peak_K
        return _Seen(
            self.sum_K + later.sum_K,
            np.maximum(self.peak_K, later.peak_K),
            np.where(is_higher_K, later.peak_seconds_K, self.peak_seconds_K),
            self.count + later.count,
            max(self.peak, later.peak),
        )


@dataclass
class _Run:
    """A time in which something goes on."""

    id: int
    start_seconds: float
    label: int
    """The likeliest class by all that was seen, recent frames counting more."""
    label_since: float
    """Since when."""
    evidence_K: np.ndarray
    """What was seen of each class, recent frames counting more."""
    seen: _Seen
    """The frames, but for those in `others`."""
    others: _Seen
    """The frames since another class is the likeliest of each."""
    others_since: float = math.nan
    """Since when that is so; not a number while it is not."""
    last_seconds: float = math.nan
    below_since: float = math.nan
    """Since when nothing goes on; not a number while something does."""
    is_reported: bool = False

    @classmethod
    def begin(cls, seconds: float, of_classes_K: np.ndarray, number: int) -> _Run:
        """The run that begins with a frame, which is then to be added."""
        nothing = _Seen.nothing(len(of_classes_K))
        label = int(of_classes_K.argmax())
        return cls(number, seconds, label, seconds, np.zeros(len(of_classes_K)), nothing, nothing)

    def add(self, seconds: float, of_classes_K: np.ndarray, going_on: float, *, half_life: float) -> None:
        """Takes in a frame in which something goes on."""
        passed = 0.0 if math.isnan(self.last_seconds) else seconds - self.last_seconds
        self.evidence_K = 0.5 ** (passed / half_life) * self.evidence_K + of_classes_K
        frame = _Seen.frame(seconds, of_classes_K, going_on)
        if int(of_classes_K.argmax()) == self.label:
            self._take_back_others()
            self.seen = self.seen.joined(frame)
        else:
            if math.isnan(self.others_since):
                self.others_since = seconds
            self.others = self.others.joined(frame)
        self.last_seconds, self.below_since = seconds, math.nan

    def relabel(self, label: int) -> None:
        """It was another class all along."""
        self.label, self.label_since = label, self.others_since
        self._take_back_others()

    def split(self, label: int, number: int) -> _Run:
        """The run of another class, which began when others became likelier."""
        nothing = _Seen.nothing(len(self.evidence_K))
        since = self.others_since
        return _Run(
            number, since, label, since, self.others.sum_K, self.others, nothing, last_seconds=self.last_seconds
        )

    def end_at(self, seconds: float) -> float:
        """When it ends if the stream does at a time: not later than it fell below the threshold."""
        return seconds if math.isnan(self.below_since) else self.below_since

    def _take_back_others(self) -> None:
        if math.isnan(self.others_since):
            return
        self.seen = self.seen.joined(self.others)
        self.others, self.others_since = _Seen.nothing(len(self.evidence_K)), math.nan

    def arrays(self) -> dict[str, np.ndarray]:
        numbers = (
            self.id,
            self.start_seconds,
            self.label,
            self.label_since,
            self.others_since,
            self.last_seconds,
            self.below_since,
            self.is_reported,
            self.seen.count,
            self.seen.peak,
            self.others.count,
            self.others.peak,
        )
        parts = [[part.sum_K, part.peak_K, part.peak_seconds_K] for part in (self.seen, self.others)]
        return {
            "run": np.array(numbers, dtype=np.float64),
            "classes": np.stack([self.evidence_K, *parts[0], *parts[1]]),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], *, num_classes: int) -> _Run:
        """The run that gave these `arrays`.

        Raises:
            WeightsError: they are not those of a run.
        """
        numbers = kept_array(arrays, "run", dtype=np.float64, shape=[12]).tolist()
        number, start, label, label_since, others_since, last, below, is_reported, *counts = numbers
        rows = kept_array(arrays, "classes", dtype=np.float64, shape=[7, num_classes])
        is_sound = all(map(math.isfinite, (number, start, label, label_since, last, *counts, *rows.flat)))
        if not is_sound or counts[0] + counts[2] < 1 or math.isinf(others_since) or math.isinf(below):
            raise WeightsError("a damaged state of a stream (its event is none that can be)")
        if not (0 <= label < num_classes and 0 < number < 1 << 53) or int(label) != label or int(number) != number:
            raise WeightsError(f"a damaged state of a stream (its event has number {number:g} and class {label:g})")
        evidence_K, sum_K, peak_K, at_K, others_sum_K, others_peak_K, others_at_K = rows.copy()
        return cls(
            id=int(number),
            start_seconds=start,
            label=int(label),
            label_since=label_since,
            evidence_K=evidence_K,
            seen=_Seen(sum_K, peak_K, at_K, counts[0], counts[1]),
            others=_Seen(others_sum_K, others_peak_K, others_at_K, counts[2], counts[3]),
            others_since=others_since,
            last_seconds=last,
            below_since=below,
            is_reported=bool(is_reported),
        )


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
