"""Consensus, resets and events, against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.data import Clip
from lsn.errors import ConfigError
from lsn.evaluation.result import PredictionRow
from lsn.streaming import EventDetector, EventReport, EventRules, ResetRules, fit_threshold
from lsn.streaming.consensus import make_consensus
from lsn.streaming.resets import ResetDetector, SceneCuts
from lsn.video.frame_sampler import Tick

LABELS = ("nothing", "wave", "clap")


def scores(num_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_frames, 3)).astype(np.float32)


class TestConsensus:
    def test_cumulative_is_the_mean_over_the_clip(self):
        consensus, logits_TK = make_consensus("cumulative"), scores(9)
        for t, logits_K in enumerate(logits_TK):
            mean_K = consensus.update(logits_K, 100 + t / 7)
            np.testing.assert_allclose(mean_K, logits_TK[: t + 1].astype(np.float64).mean(0))

    @given(st.lists(st.floats(0.01, 2), min_size=1, max_size=12))
    def test_exponential_halves_the_weight_in_a_half_life(self, gaps):
        consensus, logits_TK, times = (
            make_consensus("exponential:0.7"),
            scores(len(gaps)).astype(np.float64),
            np.cumsum(gaps),
        )
        for logits_K, time in zip(logits_TK, times, strict=True):
            mean_K = consensus.update(logits_K, time)
        weights_T = 0.5 ** ((times[-1] - times) / 0.7)
        np.testing.assert_allclose(mean_K, (weights_T[:, None] * logits_TK).sum(0) / weights_T.sum())

    def test_sliding_holds_as_many_frames_as_its_window_has_ticks(self):
        # 0.1 is no binary fraction: the window must hold 5 frames all the same, at any time.
        consensus, logits_TK = make_consensus("sliding:0.5"), scores(400).astype(np.float64)
        for t, logits_K in enumerate(logits_TK):
            mean_K = consensus.update(logits_K, 3.3 + t / 10)
            np.testing.assert_allclose(mean_K, logits_TK[max(0, t - 4) : t + 1].mean(0))

    @pytest.mark.parametrize("text", ["cumulative", "exponential:0.5", "sliding:1"])
    def test_reset_forgets_and_a_restored_one_goes_on(self, text):
        logits_TK = scores(8)
        kept, fresh = make_consensus(text), make_consensus(text)
        for t in range(5):
            kept.update(logits_TK[t], t / 4)
        other = make_consensus(text)
        other.restore({name: array.copy() for name, array in kept.arrays().items()}, num_classes=logits_TK.shape[1])
        assert np.array_equal(kept.update(logits_TK[5], 1.25), other.update(logits_TK[5], 1.25))
        kept.reset()
        assert np.array_equal(kept.update(logits_TK[6], 1.5), fresh.update(logits_TK[6], 1.5))
        np.testing.assert_allclose(kept.update(logits_TK[6], 1.75), logits_TK[6].astype(np.float64))

    @pytest.mark.parametrize("text", ["mean", "exponential", "sliding:", "sliding:0", "exponential:-1", "sliding:inf"])
    def test_others_are_refused(self, text):
        with pytest.raises(ConfigError, match=f"consensus '{text}'"):
            make_consensus(text)


def tick(seconds: float, frame: np.ndarray | None = None, *, is_discontinuity: bool = False) -> Tick:
    frame = np.zeros((8, 8, 3), np.uint8) if frame is None else frame
    return Tick(seconds, frame, seconds, is_discontinuity, start_seconds=seconds, number=0)


class TestResets:
    def test_a_silence_starts_anew_but_dropped_ticks_do_not(self):
        watch = ResetDetector(ResetRules(max_gap_seconds=1.0))
        ticks = [
            tick(0, is_discontinuity=True),
            tick(0.1),
            tick(5),
            tick(5.5, is_discontinuity=True),
            tick(9, is_discontinuity=True),
            tick(2, is_discontinuity=True),
        ]
        reasons = [watch.reason(each) for each in ticks]
        assert reasons == ["start", None, None, None, "gap", "time went back"]

    def test_every_so_many_seconds(self):
        watch = ResetDetector(ResetRules(every_seconds=0.5))
        reasons = [watch.reason(tick(t / 10)) for t in range(12)]
        assert [t for t, reason in enumerate(reasons) if reason] == [0, 5, 10]
        assert reasons[5] == "0.5 seconds"

    def test_a_cut_between_real_looking_scenes(self):
        rng = np.random.default_rng(0)
        scene = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        other = rng.integers(0, 64, (48, 64, 3), dtype=np.uint8)
        moved = np.roll(scene, 1, axis=1)
        watch = ResetDetector(ResetRules(scene_cut=0.3))
        shown = [scene, scene, other, other, scene]
        assert [watch.reason(tick(t / 10, frame)) for t, frame in enumerate(shown)] == [
            "start", None, "scene cut", None, "scene cut"
        ]  # fmt: skip
        cuts = SceneCuts(0.9)
        assert not any(cuts.is_cut(frame) for frame in (scene, moved, scene))

    def test_another_size_is_no_cut(self):
        cuts = SceneCuts(0.3)
        frames = [np.full((size, size, 3), value, np.uint8) for size, value in ((32, 0), (48, 255), (48, 0))]
        assert [cuts.is_cut(frame) for frame in frames] == [False, False, True]

    @pytest.mark.parametrize(
        "rules", [{"max_gap_seconds": 0.0}, {"every_seconds": -1.0}, {"every_seconds": math.inf}, {"scene_cut": 1.0}]
    )
    def test_values_out_of_range_are_refused(self, rules):
        with pytest.raises(ConfigError, match=next(iter(rules))):
            ResetRules(**rules)


def detected(rows, rules, *, step=0.25, end=None) -> list[EventReport]:
    """What is reported of probabilities of "nothing", "wave" and "clap", a step apart."""
    detector = EventDetector(LABELS, rules)
    found = [report for t, row in enumerate(rows) for report in detector.update(t * step, np.array(row))]
    return found + ([] if end is None else detector.finish(end))


def naive_spans(times: list[float], p_T: np.ndarray, rules: EventRules, end: float) -> list[tuple[float, float]]:
    """Runs above the lower threshold, joined over short pauses, that reach the upper one and last long enough."""
    inside = [t for t in range(len(times)) if p_T[t] >= rules.off_threshold]
    runs: list[list[int]] = []
    for t in inside:
        fell = times[runs[-1][-1] + 1] if runs and runs[-1][-1] + 1 < len(times) else None
        joins = runs and (t == runs[-1][-1] + 1 or times[t] - fell < rules.merge_seconds)
        runs = [*runs[:-1], [*runs[-1], t]] if joins else [*runs, [t]]
    spans = []
    for run in runs:
        stop = times[run[-1] + 1] if run[-1] + 1 < len(times) else end
        if p_T[run].max() >= rules.on_threshold and stop - times[run[0]] >= rules.min_seconds:
            spans.append((times[run[0]], stop))
    return spans


class TestEvents:
    @given(
        st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
        st.sampled_from([0.0, 0.25, 1.0]),
        st.sampled_from([0.0, 0.375]),
    )
    def test_events_are_those_of_a_plain_loop(self, rows, min_seconds, merge_seconds):
        rules = EventRules(
            on_threshold=0.7,
            off_threshold=0.4,
            min_seconds=min_seconds,
            merge_seconds=merge_seconds,
            split_seconds=1000,
            background="nothing",
        )
        p_TK = np.array([[1 - p, p * share, p * (1 - share)] for p, share in rows])
        times = [10 + t / 8 for t in range(len(rows))]
        detector, found = EventDetector(LABELS, rules), []
        for time, p_K in zip(times, p_TK, strict=True):
            found += detector.update(time, p_K)
        found += detector.finish(times[-1] + 0.125)
        ends = [report.event for report in found if report.kind == "end"]
        expected = naive_spans(times, 1 - p_TK[:, 0], rules, times[-1] + 0.125)
        assert [(event.start_seconds, event.end_seconds) for event in ends] == expected
        for event in ends:
            k = LABELS.index(event.label)
            kinds = [report.kind for report in found if report.event.id == event.id]
            assert kinds[0] == "new" and kinds[-1] == "end" and set(kinds[1:-1]) <= {"update"}
            inside = [
                p_K[k]
                for time, p_K in zip(times, p_TK, strict=True)
                if event.start_seconds <= time < event.end_seconds and 1 - p_K[0] >= rules.off_threshold
            ]
            assert event.confidence == pytest.approx(np.mean(inside))
            assert event.peak == max(inside)
            assert p_TK[times.index(event.peak_seconds), k] == event.peak

    def test_it_is_reported_once_it_is_sure_and_has_lasted(self):
        rows = [[0.9, 0.1, 0], [0.5, 0.5, 0], [0.3, 0.7, 0], [0.2, 0.8, 0], [0.9, 0.1, 0]]
        new, end = detected(rows, EventRules(min_seconds=0.5, background="nothing"))
        assert (new.kind, new.event.start_seconds, new.event.end_seconds) == ("new", 0.25, 0.75)
        assert (end.kind, end.event.id, end.event.end_seconds, end.event.peak_seconds) == ("end", 1, 1.0, 0.75)

    def test_flicker_does_not_split_an_event(self):
        waves = [0.1, 0.45, 0.7, 0.5, 0.65, 0.41, 0.2]
        rules = EventRules(on_threshold=0.6, off_threshold=0.4, background="nothing")
        (event,) = [r.event for r in detected([[1 - p, p, 0.0] for p in waves], rules) if r.kind == "end"]
        assert (event.label, event.start_seconds, event.end_seconds, event.peak) == ("wave", 0.25, 1.5, 0.7)

    def test_what_begins_like_another_is_corrected_and_keeps_its_number(self):
        rows = [[0.3, 0.6, 0.1], [0.2, 0.7, 0.1], *[[0.1, 0.1, 0.8]] * 4, [1, 0, 0]]
        reports = detected(rows, EventRules(background="nothing", split_seconds=2))
        assert [(r.kind, r.event.id, r.event.label) for r in reports] == [
            ("new", 1, "wave"),
            ("update", 1, "clap"),
            ("end", 1, "clap"),
        ]
        assert reports[-1].event.start_seconds == 0

    def test_a_class_that_led_for_long_is_an_event_of_its_own(self):
        rows = [*[[0.1, 0.8, 0.1]] * 6, *[[0.1, 0.1, 0.8]] * 6, [1, 0, 0]]
        reports = detected(rows, EventRules(background="nothing", split_seconds=1))
        assert [(r.kind, r.event.id, r.event.label) for r in reports] == [
            ("new", 1, "wave"),
            ("end", 1, "wave"),
            ("new", 2, "clap"),
            ("end", 2, "clap"),
        ]
        wave, clap = reports[1].event, reports[3].event
        assert (wave.end_seconds, clap.start_seconds, clap.end_seconds) == (1.5, 1.5, 3)
        assert (wave.confidence, clap.confidence) == (pytest.approx(0.8), pytest.approx(0.8))
        assert (wave.peak, clap.peak, clap.peak_seconds) == (0.8, 0.8, 1.5)

    def test_a_surer_class_takes_over_in_a_single_frame(self):
        rows = [*[[0.2, 0.8, 0]] * 4, [0.1, 0, 0.9], [1, 0, 0]]
        reports = detected(rows, EventRules(background="nothing"), step=1)
        ends = [(r.event.label, r.event.start_seconds, r.event.end_seconds) for r in reports if r.kind == "end"]
        assert ends == [("wave", 0, 4), ("clap", 4, 5)]

    def test_how_long_a_class_led_counts_from_its_own_beginning(self):
        wave, clap, faint = [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.1, 0.55, 0.35]
        rows = [*[wave] * 3, *[clap] * 4, *[faint] * 8, [1, 0, 0]]
        reports = detected(rows, EventRules(background="nothing", split_seconds=1.5))
        assert [(r.kind, r.event.label) for r in reports] == [
            ("new", "wave"),
            ("update", "clap"),
            ("update", "wave"),
            ("end", "wave"),
        ]

    @pytest.mark.parametrize("start", [0.0, 0.4, 1e6])
    def test_times_that_are_sums_of_tenths_count_as_what_they_are(self, start):
        detector = EventDetector(LABELS, EventRules(background="nothing", min_seconds=0.3))
        kinds = [
            [report.kind for report in detector.update(start + t / 10, np.array([0.1, 0.9, 0.0]))] for t in range(4)
        ]
        assert kinds == [[], [], [], ["new"]]

    def test_a_pause_that_is_short_enough_does_not_end_it(self):
        rows = [[0.1, 0.9, 0], [0.1, 0.9, 0], [0.9, 0.1, 0], [0.1, 0.9, 0], [0.9, 0.1, 0], [0.9, 0.1, 0], [0.9, 0.1, 0]]
        apart = detected(rows, EventRules(background="nothing", min_seconds=0))
        assert [r.event.end_seconds for r in apart if r.kind == "end"] == [0.5, 1.0]
        joined = detected(rows, EventRules(background="nothing", min_seconds=0, merge_seconds=0.5))
        assert [(r.event.start_seconds, r.event.end_seconds) for r in joined if r.kind == "end"] == [(0, 1.0)]

    def test_without_a_background_the_likeliest_class_goes_on(self):
        rows = [[0.3, 0.3, 0.3], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.3, 0.3, 0.3], [0.9, 0.1, 0.0]]
        reports = detected(rows, EventRules(min_seconds=0), end=1.25)
        assert [(r.event.label, r.event.start_seconds) for r in reports if r.kind == "end"] == [
            ("wave", 0.25),
            ("nothing", 1),
        ]

    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20), st.integers(1, 19))
    def test_a_restored_detector_goes_on(self, rows, cut):
        rules = EventRules(min_seconds=0.25, merge_seconds=0.3, split_seconds=0.5, background="nothing")
        p_TK = np.array([[1 - p, p * share, p * (1 - share)] for p, share in rows])
        first, second = EventDetector(LABELS, rules), EventDetector(LABELS, rules)
        found = [report for t, p_K in enumerate(p_TK[:cut]) for report in first.update(t / 4, p_K)]
        second.restore({name: array.copy() for name, array in first.arrays().items()})
        ongoing = second.under_way(cut / 4)
        assert ongoing == first.under_way(cut / 4)
        found += [report for t, p_K in enumerate(p_TK[cut:], start=cut) for report in second.update(t / 4, p_K)]
        assert found == detected(p_TK, rules)

    @pytest.mark.parametrize(
        "rules",
        [
            {"on_threshold": 0.3, "off_threshold": 0.5},
            {"off_threshold": 0.0},
            {"on_threshold": 1.1},
            {"min_seconds": -1},
            {"merge_seconds": math.inf},
            {"memory_seconds": 0},
        ],
    )
    def test_rules_out_of_range_are_refused(self, rules):
        with pytest.raises(ConfigError, match="events"):
            EventRules(**rules)

    def test_an_unknown_background_is_refused(self):
        with pytest.raises(ConfigError, match="background 'nothign'; did you mean 'nothing'"):
            EventDetector(LABELS, EventRules(background="nothign"))


def row(confidence: float, correct: bool) -> PredictionRow:
    return PredictionRow(Clip("a.mp4", "wave"), "wave" if correct else "clap", confidence, confidence, ("wave", "clap"))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.sampled_from([0.5, 0.9, 0.95, 1.0]))
def test_the_threshold_keeps_the_wanted_share_of_right_answers(answers, kept):
    threshold = fit_threshold([row(*answer) for answer in answers], kept=kept)
    right = [confidence for confidence, correct in answers if correct]
    if not right:
        assert threshold is None
        return
    assert sum(confidence >= threshold for confidence in right) >= kept * len(right) - 1e-9
    higher = [confidence for confidence in right if confidence > threshold]
    assert len(higher) < kept * len(right), "a higher one would keep too few"
    assert fit_threshold([row(*answer) for answer in answers], kept=1.0) == min(right)


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="right answers to keep"):
        fit_threshold([], kept=0)
