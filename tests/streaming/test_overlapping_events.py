"""Events of labels that may overlap: each label as if it were alone, with one count of numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.config import EventRules
from lsn.errors import ConfigError
from lsn.streaming.events import EventDetector
from lsn.streaming.overlapping_events import OverlappingEvents

LABELS = ("clap", "wave", "jump")
RULES = EventRules(on_threshold=0.6, off_threshold=0.4, min_seconds=0.2, merge_seconds=0.2, multi_label=True)
tracks = st.lists(st.tuples(*[st.sampled_from([0.1, 0.5, 0.9])] * 3), min_size=1, max_size=40)


def reports_of(detector, track, first=0):
    return [
        report
        for tick, row in enumerate(track, start=first)
        for report in detector.update(tick / 10, np.array(row, dtype=np.float32))
    ]


@given(tracks)
def test_each_label_is_followed_as_if_it_were_alone(track):
    together = OverlappingEvents(LABELS, RULES)
    reports = reports_of(together, track) + together.finish(len(track) / 10)
    assert len({report.event.id for report in reports if report.kind == "new"}) == sum(
        report.kind == "new" for report in reports
    ), "every event has a number of its own"
    for number, label in enumerate(LABELS):
        alone = EventDetector((label,), replace(RULES, multi_label=False))
        expected = reports_of(alone, [row[number : number + 1] for row in track]) + alone.finish(len(track) / 10)
        found = [report for report in reports if report.event.label == label]
        assert [(r.kind, replace(r.event, id=0)) for r in found] == [(r.kind, replace(r.event, id=0)) for r in expected]


@given(tracks, st.integers(0, 40))
def test_what_is_kept_and_restored_goes_on(track, cut):
    whole, first, second = (OverlappingEvents(LABELS, RULES) for _ in range(3))
    expected = reports_of(whole, track)
    found = reports_of(first, track[:cut])
    second.restore(first.arrays())
    assert found + reports_of(second, track[cut:], first=min(cut, len(track))) == expected
    assert second.under_way(9.0) == whole.under_way(9.0)


def test_two_events_at_once_are_both_reported():
    detector = OverlappingEvents(LABELS, RULES)
    reports = reports_of(detector, [(0.9, 0.1, 0.1)] * 3 + [(0.9, 0.9, 0.1)] * 4) + detector.finish(0.7)
    ends = [(r.event.label, r.event.start_seconds, r.event.end_seconds) for r in reports if r.kind == "end"]
    assert ends == [("clap", 0.0, 0.7), ("wave", pytest.approx(0.3), 0.7)]


def test_there_is_no_background():
    with pytest.raises(ConfigError, match="background 'none' of events that may overlap; it must be None"):
        replace(RULES, background="none")
