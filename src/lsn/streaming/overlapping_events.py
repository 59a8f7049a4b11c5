"""Events of labels that may overlap: each label is followed on its own.

Shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lsn.config import EventRules
from lsn.streaming.events import EventDetector, EventReport
from lsn.streaming.snapshot_arrays import below, kept_array


class OverlappingEvents:
    """The same as `EventDetector`, for a yes or no for each label instead of one answer.

    Args:
        labels: names of the K classes.
        rules: when probabilities are an event; there is no background.
    """

    def __init__(self, labels: Sequence[str], rules: EventRules) -> None:
        self.labels, self._num_begun = tuple(labels), 0
        alone = replace(rules, multi_label=False, background=None)
        self._detectors = [EventDetector((label,), alone, next_id=self._next_id) for label in labels]

    def update(self, seconds: float, probabilities_K: np.ndarray) -> list[EventReport]:
        """Takes the probabilities at a time, later than the one before; returns what there is to say of events."""
        reports: list[EventReport] = []
        for number, detector in enumerate(self._detectors):
            reports += detector.update(seconds, probabilities_K[number : number + 1])
        return reports

    def follow(self, seconds_T: np.ndarray, probabilities_TK: np.ndarray) -> list[tuple[float, EventReport]]:
        """The same for several times; returns the reports with their times."""
        reports: list[tuple[float, EventReport]] = []
        for number, detector in enumerate(self._detectors):
            reports += detector.follow(seconds_T, probabilities_TK[:, number : number + 1])
        return sorted(reports, key=lambda pair: pair[0])

    def finish(self, seconds: float) -> list[EventReport]:
        """Ends what is going on; returns the reports."""
        return [report for detector in self._detectors for report in detector.finish(seconds)]

    def under_way(self, seconds: float) -> list[EventReport]:
        """What is going on, as it would be reported if it ended now; it goes on."""
        return [report for detector in self._detectors for report in detector.under_way(seconds)]

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it knows of what is going on."""
        kept = {"num_begun": np.array(self._num_begun, dtype=np.int64)}
        for number, detector in enumerate(self._detectors):
            kept |= {f"{number}.{name}": array for name, array in detector.arrays().items()}
        return kept

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` gave.

        Raises:
            WeightsError: these are not such arrays for K classes.
        """
        self._num_begun = int(kept_array(arrays, "num_begun", dtype=np.int64, shape=[]))
        for number, detector in enumerate(self._detectors):
            detector.restore(below(arrays, f"{number}."))

    def _next_id(self) -> int:
        self._num_begun += 1
        return self._num_begun


def make_detector(labels: Sequence[str], rules: EventRules) -> EventDetector | OverlappingEvents:
    """What finds events by these rules.

    Raises:
        ConfigError: the background is not one of the labels.
    """
    return OverlappingEvents(labels, rules) if rules.multi_label else EventDetector(labels, rules)
