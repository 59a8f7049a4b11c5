"""Rules of events that are fitted on videos whose events are known, and kept with the weights."""

import numpy as np
import pytest
from small_recognizer import INPUT, LABELS, lively_model
from video_files import encode_pictures

from lsn.config import EventRules
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import WeightsError
from lsn.evaluation.timelines.event_metrics import count_events, false_per_hour
from lsn.evaluation.timelines.matching import VideoEvents
from lsn.models.weights import load_weights, save_event_rules, save_weights
from lsn.streaming import StreamingPredictor
from lsn.streaming.event_fitting import fit_event_rules
from lsn.streaming.found_events import found_event
from lsn.streaming.timeline import Timeline, make_timeline
from lsn.video.writing.overlay import Track

NAMES = ("background", "wave", "clap")


def timeline_of(*spans: tuple[str, float, float, float], seconds: float = 40.0) -> Timeline:
    """What a model says at 10 frames per second: nothing, but for spans of a label with a probability."""
    times_T = np.arange(round(10 * seconds)) / 10
    p_TK = np.tile([0.96, 0.02, 0.02], (len(times_T), 1))
    for label, start, end, probability in spans:
        inside_T = (times_T >= start) & (times_T < end)
        p_TK[inside_T] = (1 - probability, 0, 0)
        p_TK[inside_T, NAMES.index(label)] = probability
    return Timeline("a.mp4", Track(NAMES, p_TK.astype(np.float32), times_T), (), (), 0.0, seconds)


TRUE = (TimelineEvent("wave", 5, 8), TimelineEvent("clap", 20, 22))
MANIFEST = TimelineManifest("t.csv", NAMES[1:], (TimelineVideo("a.mp4", TRUE),))
FAINT = timeline_of(("wave", 5, 6.4, 0.45), ("wave", 6.7, 8, 0.45), ("clap", 20, 22, 0.4), ("clap", 30, 30.3, 0.45))
"""Both events, fainter than the default threshold, the first with a break, and a short false one."""


def counts(timeline, true, rules):
    found = tuple(found_event(event, timeline.start_seconds) for event in timeline.with_rules(rules).events)
    video = VideoEvents(tuple(true), found, timeline.duration_seconds)
    return count_events([video], tiou=0.25), false_per_hour([video], tiou=0.1)


def test_rules_are_found_that_see_what_the_default_ones_miss():
    start = EventRules(background="background")
    assert counts(FAINT, TRUE, start)[0].found == 0
    fitted = fit_event_rules([FAINT], MANIFEST, start)
    assert counts(FAINT, TRUE, fitted)[0].f1 == 1
    assert fitted.background == "background"
    assert fit_event_rules([FAINT], MANIFEST, start) == fitted


def test_rules_that_are_good_stay():
    start = EventRules(background="background")
    clear = timeline_of(("wave", 5, 8, 0.9), ("clap", 20, 22, 0.9))
    assert fit_event_rules([clear], MANIFEST, start) == start


def test_false_events_have_their_price():
    timeline = timeline_of(("wave", 5, 8, 0.9), ("clap", 20, 22, 0.5), ("clap", 30, 32, 0.6))
    start = EventRules(background="background")
    strict = fit_event_rules([timeline], MANIFEST, start, max_false_per_hour=0)
    lenient = fit_event_rules([timeline], MANIFEST, start, max_false_per_hour=200)
    assert counts(timeline, TRUE, strict)[1] == 0 and counts(timeline, TRUE, strict)[0].found == 1
    assert counts(timeline, TRUE, lenient)[0].found == 2


def test_where_nobody_has_looked_nothing_is_false():
    timeline = timeline_of(("wave", 5, 8, 0.9), ("clap", 20, 22, 0.5), ("clap", 30, 32, 0.6))
    listed = (*TRUE, TimelineEvent("background", 10, 20))
    manifest = TimelineManifest("t.csv", NAMES, (TimelineVideo("a.mp4", in_order(listed)),), "unknown")
    fitted = fit_event_rules([timeline], manifest, EventRules(background="background"), max_false_per_hour=0)
    assert counts(timeline, TRUE, fitted)[0].found == 2


def test_events_by_other_rules_are_those_of_a_stream_with_these_rules(rated, tmp_path):
    path = encode_pictures(tmp_path / "late.mkv", num_frames=90, times=[30 + number for number in range(90)])
    first = make_timeline(StreamingPredictor(rated, events=EventRules()), path)
    rules = EventRules(on_threshold=0.3, off_threshold=0.2, min_seconds=0.1, merge_seconds=0.2, background=LABELS[0])
    stream = make_timeline(StreamingPredictor(rated, events=rules), path)
    assert len(stream.events) > 0
    assert first.with_rules(rules).events == stream.events


def test_rules_are_kept_with_the_weights(tmp_path):
    save_weights(tmp_path / "weights", lively_model(), labels=LABELS, input=INPUT, metrics={"top1": 0.5})
    before = load_weights(tmp_path / "weights")
    assert before.events is None
    rules = EventRules(on_threshold=0.3, off_threshold=0.1, background=LABELS[2])
    save_event_rules(tmp_path / "weights", rules)
    after = load_weights(tmp_path / "weights")
    assert (after.events, after.labels, after.metrics, after.input) == (
        rules,
        before.labels,
        before.metrics,
        before.input,
    )
    assert StreamingPredictor(after, fps=8).events == rules
    assert StreamingPredictor(after, fps=8, events=EventRules()).events == EventRules()
    with pytest.raises(WeightsError, match="the background 'nothing' is none of the labels"):
        save_event_rules(tmp_path / "weights", EventRules(background="nothing"))
    with pytest.raises(WeightsError, match="no such weights folder"):
        save_event_rules(tmp_path / "none", rules)
    assert load_weights(tmp_path / "weights").events == rules
