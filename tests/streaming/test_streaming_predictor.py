import itertools
import math
import threading

import numpy as np
import pytest
import torch
from small_recognizer import FPS, INPUT, LABELS, RATES, lively_model, noisy_frames, push_all

from lsn.errors import ConfigError, ModelError, VideoError
from lsn.inference.predictor import Predictor
from lsn.models.weights import LoadedModel
from lsn.streaming import EventRules, ResetRules, SourceOptions, StreamingPredictor, StreamPrediction
from lsn.streaming.recorder import StreamRecorder
from lsn.streaming.runner import StreamEnd, StreamRunner
from lsn.streaming.timeline import make_timeline
from lsn.video import open_video, write_video


def test_cumulative_is_what_the_clip_is_called(rated, tmp_path):
    frames = noisy_frames(3, num_frames=4)
    stream = StreamingPredictor(rated, consensus="cumulative").open()
    answers = push_all(stream, frames) + stream.finish(0.4)[0]
    clip = Predictor(rated, device="cpu")(frames, fps=FPS)  # takes all four frames
    assert [answer.seconds for answer in answers] == pytest.approx([0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(answers[-1].probabilities, clip.probabilities, atol=1e-5)
    np.testing.assert_allclose([a.frame_probabilities for a in answers], clip.frame_probabilities_TK, atol=1e-5)
    np.testing.assert_allclose([a.probabilities for a in answers], clip.cumulative_probabilities_TK(), atol=1e-5)
    assert answers[-1].top(3) == [(label, pytest.approx(p, abs=1e-5)) for label, p in clip.top(3)]


def test_the_default_window_is_a_training_clip(rated):
    predictor = StreamingPredictor(rated)
    assert predictor.fps == FPS
    frames = noisy_frames(3, num_frames=9)
    stream = predictor.open()
    answers = push_all(stream, frames)
    scores = np.log([answer.frame_probabilities for answer in answers])
    expected = torch.from_numpy(scores[-rated.model.num_frames :].mean(axis=0)).softmax(0)
    np.testing.assert_allclose(answers[-1].probabilities, expected, atol=1e-5)
    assert "5 to 20" in predictor.describe()


def test_the_default_window_is_what_the_answer_is_the_mean_of():
    loaded = LoadedModel(lively_model(readout_frames=2), LABELS, INPUT, {}, RATES)
    frames = noisy_frames(3, num_frames=4)
    stream = StreamingPredictor(loaded).open()
    answers = push_all(stream, frames) + stream.finish(0.4)[0]
    clip = Predictor(loaded, device="cpu")(frames, fps=FPS)
    np.testing.assert_allclose([a.probabilities for a in answers], clip.cumulative_probabilities_TK(), atol=1e-5)
    np.testing.assert_allclose(answers[-1].probabilities, clip.probabilities, atol=1e-5)


@pytest.mark.parametrize("fps", [60, 30, 12.5])
def test_sources_of_any_rate_mean_the_same(rated, fps):
    """The picture changes every 0.2 s; whatever the source's rate, the model sees each one at the same ticks."""
    pictures = noisy_frames(5, num_frames=10)
    stream = StreamingPredictor(rated).open()
    answers = []
    for t in range(int(2 * fps)):
        if t % 10 != 7:  # one in ten is dropped
            answers += stream.push(t / fps, pictures[min(int(5 * t / fps + 1e-9), 9)])
    by_tick = {round(answer.seconds * FPS): answer for answer in answers}
    reference = StreamingPredictor(rated).open()
    for expected in push_all(reference, pictures.repeat_interleave(2, dim=0)):
        answer = by_tick.get(round(expected.seconds * FPS))
        # A picture comes on screen with the first frame that shows it, so up to one source frame (two where one was
        # dropped) after 0.2 s are over: the ticks right after a change may still see the one before.
        if answer is not None and round(expected.seconds * FPS) % 2 == 1:
            assert np.array_equal(answer.frame_HWC, expected.frame_HWC)
    assert set(range(18)) <= by_tick.keys()


def test_a_stream_starts_anew_by_hand_after_silence_and_by_the_clock(rated):
    frames = noisy_frames(3, num_frames=30)
    stream = StreamingPredictor(rated, resets=ResetRules(max_gap_seconds=0.5, every_seconds=1.0)).open()
    answers = push_all(stream, frames[:5])
    stream.reset()
    answers += push_all(stream, frames[5:8], start=5)
    answers += push_all(stream, frames[8:], start=20)
    resets = [(round(10 * answer.seconds), answer.reset) for answer in answers if answer.reset]
    assert resets == [(0, "start"), (5, "manual"), (20, "gap"), (30, "1 seconds"), (40, "1 seconds")]
    fresh = push_all(StreamingPredictor(rated).open(), frames[8:])
    restarted = [answer for answer in answers if answer.seconds >= 2]
    np.testing.assert_allclose(restarted[7].frame_probabilities, fresh[7].frame_probabilities, atol=1e-5)
    assert restarted[7].num_frames == 8


def test_frames_in_memory_that_is_used_again(rated):
    frames = noisy_frames(3, num_frames=6).numpy()
    stream, plain = StreamingPredictor(rated).open(), StreamingPredictor(rated).open()
    buffer, answers = np.empty_like(frames[0]), []
    for t, frame in enumerate(frames):
        buffer[:] = frame
        answers += stream.push(t / FPS, buffer)
    expected = push_all(plain, frames)
    np.testing.assert_array_equal([a.probabilities for a in answers], [a.probabilities for a in expected])


def test_frames_out_of_time_are_left_out(rated):
    frames = noisy_frames(3, num_frames=6)
    stream, plain = StreamingPredictor(rated).open(), StreamingPredictor(rated).open()
    expected = push_all(plain, frames)
    answers = []
    for t, frame in enumerate(frames):
        answers += stream.push(t / FPS, frame)
        answers += stream.push(t / FPS, frames[0])  # the same time again
        answers += stream.push(t / FPS - 0.05, frames[1])  # a little back
    assert [a.seconds for a in answers] == [a.seconds for a in expected]
    np.testing.assert_array_equal(answers[-1].probabilities, expected[-1].probabilities)


@pytest.mark.parametrize(
    "frame", [np.zeros((0, 0, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_a_bad_frame_is_one_error_and_the_stream_goes_on(rated, frame):
    frames = noisy_frames(3, num_frames=6)
    stream, plain = StreamingPredictor(rated).open("door"), StreamingPredictor(rated).open()
    answers = push_all(stream, frames[:3])
    with pytest.raises(VideoError, match="door: a pushed frame is"):
        stream.push(0.25, frame)
    answers += push_all(stream, frames[3:], start=3)
    np.testing.assert_array_equal(answers[-1].probabilities, push_all(plain, frames)[-1].probabilities)


def test_another_size_in_the_middle_goes_on(rated):
    stream = StreamingPredictor(rated, resets=ResetRules(scene_cut=0.9)).open()
    push_all(stream, noisy_frames(3, num_frames=3))
    answers = push_all(stream, noisy_frames(3, num_frames=3, height=70, width=90), start=3)
    assert answers[-1].num_frames == 6
    assert answers[-1].frame_HWC.shape == (70, 90, 3)


def test_events_come_with_the_answers_and_end_with_the_stream(rated):
    frames = noisy_frames(3, num_frames=8)
    predictor = StreamingPredictor(rated, events=EventRules(on_threshold=0.02, off_threshold=0.01, min_seconds=0))
    stream = predictor.open()
    answers = push_all(stream, frames)
    last, ended = stream.finish(0.8)
    reports = [report for answer in answers + last for report in answer.events] + ended
    assert [report.kind for report in reports if report.kind != "update"] == ["new", "end"]
    assert {report.event.id for report in reports} == {1}
    event = reports[-1].event
    assert (event.start_seconds, event.end_seconds) == (answers[0].seconds, 0.8)
    p_TK = np.stack([answer.probabilities for answer in answers + last])
    age_T = np.arange(len(p_TK))[::-1] / 10  # of each frame, in seconds
    assert event.label == LABELS[int((0.5**age_T @ p_TK).argmax())]


class TestWatch:
    def test_many_sources_are_told_what_each_is_told_alone(self, rated, videos):
        sources = {name: videos / f"{name}.mp4" for name in ("3", "5", "6")}
        with StreamRunner(StreamingPredictor(rated, capacity=3), sources) as watch:
            results = list(watch)
        for name, source in sources.items():
            with StreamRunner(StreamingPredictor(rated), {name: source}) as watch:
                alone = [each for each in watch if isinstance(each, StreamPrediction)]
            mine = [each for each in results if isinstance(each, StreamPrediction) and each.stream == name]
            assert [a.seconds for a in mine] == [a.seconds for a in alone]
            np.testing.assert_allclose(mine[-1].probabilities, alone[-1].probabilities, atol=1e-4)
            assert mine[-1].timings_ms.keys() == {"wait", "decode", "transform", "model"}
            with open_video(source) as reader:
                assert len(mine) == reader.num_frames  # written at 10 frames per second, the rate of the model
        ends = {each.stream: each for each in results if isinstance(each, StreamEnd)}
        assert ends.keys() == sources.keys()
        assert all(end.error is None and end.counts.num_dropped == 0 for end in ends.values())

    def test_a_source_that_fails_leaves_the_others_alone(self, rated, videos):
        def breaking():
            yield from ((t / FPS, frame) for t, frame in enumerate(noisy_frames(1, num_frames=3)))
            yield 0.3, np.zeros((0, 0, 3), np.uint8)

        with StreamRunner(StreamingPredictor(rated, capacity=3), {
            "good": videos / "6.mp4", "breaks": breaking(), "missing": videos / "missing.mp4"
        }) as watch:  # fmt: skip
            results = list(watch)
        ends = {each.stream: each.error for each in results if isinstance(each, StreamEnd)}
        assert ends["good"] is None
        assert "missing.mp4" in str(ends["missing"])
        assert isinstance(ends["breaks"], VideoError)
        assert sum(isinstance(each, StreamPrediction) and each.stream == "good" for each in results) == 15
        assert sum(isinstance(each, StreamPrediction) and each.stream == "breaks" for each in results) >= 2

    @pytest.mark.parametrize("num_good", [0, 1])
    @pytest.mark.parametrize("on_error", ["report", "raise"])
    def test_every_end_is_reported_before_anything_is_raised(self, rated, num_good, on_error):
        """Whatever the number of sources: with its events, counts and error, and the stream is there to be saved."""
        results, resume = [], threading.Event()

        def breaking():
            yield from ((t / FPS, frame) for t, frame in enumerate(noisy_frames(1, num_frames=5)))
            raise VideoError("camera: unplugged")

        def good():
            yield 0.0, noisy_frames(2, num_frames=1)[0]
            resume.wait(60)

        predictor = StreamingPredictor(
            rated, capacity=2, events=EventRules(on_threshold=0.02, off_threshold=0.01, min_seconds=0)
        )
        sources = {"breaks": breaking(), **dict.fromkeys(["good"][:num_good], good())}
        with StreamRunner(predictor, sources, on_error=on_error) as watch:
            try:
                for each in watch:
                    results.append(each)
                    if isinstance(each, StreamEnd) and on_error == "report":
                        resume.set()
                assert on_error == "report"
            except VideoError as error:
                assert on_error == "raise" and str(error) == "camera: unplugged"
            assert watch.sessions["breaks"].seconds == pytest.approx(0.4)
            resume.set()
        ends = {each.stream: each for each in results if isinstance(each, StreamEnd)}
        assert ends.keys() == sources.keys()
        assert isinstance(ends["breaks"].error, VideoError)
        assert ends["breaks"].seconds == pytest.approx(0.4)
        assert ends["breaks"].counts.num_ticks == 5
        assert len(ends["breaks"].events) > 0
        assert all(end.error is None for name, end in ends.items() if name == "good")

    def test_what_an_iterator_raises_is_raised_after_the_end_is_reported(self, rated):
        def broken():
            yield 0.0, noisy_frames(1, num_frames=1)[0]
            raise KeyError("sensor")

        results = []
        with StreamRunner(StreamingPredictor(rated), {"a": broken()}) as watch, pytest.raises(KeyError, match="sensor"):
            for each in watch:
                results.append(each)
        assert [type(each) for each in results] == [StreamPrediction, StreamEnd]
        assert isinstance(results[-1].error, KeyError)

    def test_the_time_ends_what_stalls_and_what_never_ends(self, rated):
        more = threading.Event()

        def stalls():
            yield 0.0, noisy_frames(1, num_frames=1)[0]
            more.wait(60)

        frame = noisy_frames(1, num_frames=1)[0]
        sources = {"stalls": stalls(), "endless": ((t / FPS, frame) for t in itertools.count())}
        with StreamRunner(StreamingPredictor(rated, capacity=2), sources, seconds=0.5) as watch:
            results = list(watch)
            more.set()
        ends = [each for each in results if isinstance(each, StreamEnd)]
        assert {end.stream for end in ends} == sources.keys() and results[-2:] == ends
        assert all(end.error is None for end in ends)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            *[({"seconds": wrong}, "seconds is") for wrong in (math.nan, -1.0, 0.0, math.inf)],
            ({"options": {"b": SourceOptions()}}, "options for 'b', which is no source"),
            ({"on_error": "rise"}, "on_error 'rise'; did you mean 'raise'?"),
        ],
    )
    def test_arguments_out_of_range_are_refused(self, rated, options, words):
        predictor = StreamingPredictor(rated)
        with pytest.raises(ConfigError) as caught:
            StreamRunner(predictor, {"a": []}, **options)
        assert words in str(caught.value)
        assert predictor.engine.num_streams == 0

    def test_stop_ends_what_never_ends(self, rated):
        frame = noisy_frames(1, num_frames=1)[0]
        with StreamRunner(StreamingPredictor(rated), {"a": ((t / FPS, frame) for t in itertools.count())}) as watch:
            for number, _ in enumerate(watch):
                if number == 3:
                    watch.stop()
            assert number == 4  # how it ended
            assert watch.sessions["a"].seconds == pytest.approx(0.3)  # still there, to be saved

    def test_stop_ends_the_wait_for_a_silent_source(self, rated):
        more = threading.Event()

        def silent():
            more.wait()
            yield 0.0, noisy_frames(1, num_frames=1)[0]

        with StreamRunner(StreamingPredictor(rated), {"a": silent()}) as watch:
            threading.Timer(0.2, watch.stop).start()
            (end,) = watch
            assert isinstance(end, StreamEnd) and end.error is None
            more.set()

    def test_a_timeline_covers_the_video(self, rated, videos):
        timeline = make_timeline(StreamingPredictor(rated), videos / "6.mp4")
        assert timeline.track.seconds_T == pytest.approx(np.arange(15) / FPS)
        assert timeline.track.probabilities_TK.sum(1) == pytest.approx(np.ones(15))

    def test_what_was_seen_is_recorded(self, rated, videos, tmp_path):
        with (
            StreamRunner(StreamingPredictor(rated), {"a": videos / "6.mp4"}) as watch,
            StreamRecorder(tmp_path / "seen.mp4", fps=FPS) as recorder,
        ):
            for result in watch:
                if isinstance(result, StreamPrediction):
                    recorder.write(result)
        with open_video(tmp_path / "seen.mp4") as reader:
            assert reader.num_frames == 15
            assert min(reader.info.width, reader.info.height) >= 240


def test_bad_use_is_refused(rated, tmp_path):
    plain = LoadedModel(rated.model, LABELS, INPUT, {})
    with pytest.raises(ConfigError, match=r"do not record the rate .*--fps 8"):
        StreamingPredictor(plain)
    assert StreamingPredictor(plain, fps=7.5).fps == 7.5
    for options in ({"fps": 0}, {"consensus": "median"}, {"capacity": 0}):
        with pytest.raises(ConfigError):
            StreamingPredictor(rated, **options)
    with pytest.raises(ModelError, match="cannot stream"):
        StreamingPredictor(LoadedModel(lively_model(shift="bidirectional"), LABELS, INPUT, {}, RATES))
    predictor = StreamingPredictor(rated)
    predictor.open()
    with pytest.raises(ConfigError, match="all 1 slots"):
        predictor.open()


def test_frames_of_files_are_those_of_the_reader(rated, tmp_path):
    frames = noisy_frames(9, num_frames=12)
    write_video(tmp_path / "a.mp4", frames, fps=FPS)
    with StreamRunner(StreamingPredictor(rated), {"a": tmp_path / "a.mp4"}) as watch:
        seen = [result.frame_HWC for result in watch if isinstance(result, StreamPrediction)]
    with open_video(tmp_path / "a.mp4") as reader:
        assert np.array_equal(np.stack(seen), reader.frames_at(range(12)).frames_THWC)
