"""A stream that is saved and continued with another source gives the numbers of the one that was not interrupted."""

import math
import threading

import numpy as np
import pytest
import torch
from rtsp_server import RTSPServer
from small_recognizer import INPUT, LABELS, lively_model, noisy_frames

from lsn.config import FrameRates
from lsn.errors import WeightsError
from lsn.models.weights import LoadedModel
from lsn.streaming import EventRules, ResetRules, StreamingPredictor, StreamPrediction
from lsn.streaming.runner import StreamEnd, StreamRunner
from lsn.video import open_video, window, write_video
from lsn.video.live.file_source import IteratorSource
from lsn.video.live.options import SourceOptions

FPS, SOURCE_FPS = 8, 16
SCENES = torch.cat(
    [each.expand(count, -1, -1, -1) for each, count in zip(noisy_frames(5, num_frames=3), (7, 18, 8), strict=True)]
)
FRAMES = (0.85 * SCENES + 0.15 * noisy_frames(6, num_frames=33)).round().to(torch.uint8)
HALF = 16
TIMED = [(number / SOURCE_FPS, frame) for number, frame in enumerate(FRAMES)]


class Camera(IteratorSource):
    """Live, with a clock of its own."""

    is_live = True


class Ending(IteratorSource):
    """A source that knows when its last frame goes off screen."""

    def __init__(self, frames, *, at):
        super().__init__(frames)
        self._end_seconds = at

    @property
    def end_seconds(self):
        return self._end_seconds


@pytest.fixture(scope="module")
def predictor() -> StreamingPredictor:
    loaded = LoadedModel(lively_model(), LABELS, INPUT, {}, FrameRates(FPS, FPS, FPS))
    return StreamingPredictor(
        loaded,
        capacity=2,
        consensus="exponential:1",
        resets=ResetRules(scene_cut=0.2, every_seconds=1.0),
        events=EventRules(on_threshold=0.02, off_threshold=0.01, min_seconds=0),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """All frames, those of the first half and those of the second, each file from 0 seconds on, without losses."""
    folder = tmp_path_factory.mktemp("halves")
    for name, part in (("whole", slice(None)), ("first", slice(HALF)), ("second", slice(HALF, None))):
        write_video(folder / f"{name}.mp4", FRAMES[part], fps=SOURCE_FPS, crf=0)
    return folder


def numbers_of(answers) -> list:
    return [
        (
            answer.seconds,
            answer.num_frames,
            answer.reset,
            answer.events,
            answer.probabilities.tobytes(),
            answer.frame_probabilities.tobytes(),
        )
        for answer in answers
    ]


def watch(predictor, source, *, stop_after=math.inf, state=None, save=None, fps=None, **options):
    """All answers, up to a number of them, and how the stream ended."""
    answers = []
    states = {} if state is None else {"a": state}
    of_source = SourceOptions(policy="block", reconnect_seconds=0, fps=fps)
    with StreamRunner(predictor, {"a": source}, states=states, options=of_source, **options) as watched:
        for result in watched:
            if isinstance(result, StreamEnd):
                end = result
            else:
                answers.append(result)
                if len(answers) >= stop_after:
                    watched.stop()
        if save is not None:
            watched.sessions["a"].save(save)
    assert end.error is None
    return answers, end


def assert_continued(predictor, whole, first, second, state, **options):
    expected, expected_end = watch(predictor, whole, **options)
    before, _ = watch(predictor, first, save=state, **options)
    after, end = watch(predictor, second, state=state, save=state, **options)  # the file of the state is read before
    assert numbers_of(before + after) == numbers_of(expected)
    assert len(before) == HALF * FPS / SOURCE_FPS and len(after) == (len(FRAMES) - HALF + 1) // 2
    assert [each.reset for each in expected if each.reset] == ["start", "scene cut", "1 seconds", "scene cut"]
    assert any(report.event.start_seconds < before[-1].seconds for each in after for report in each.events)
    assert (end.seconds, end.events) == (expected_end.seconds, expected_end.events)
    assert len(end.events) > 0


def test_two_files(predictor, files, tmp_path):
    assert_continued(predictor, *(files / f"{name}.mp4" for name in ("whole", "first", "second")), tmp_path / "state")


def test_two_windows_of_a_file(predictor, files, tmp_path):
    """The times of the second go on where those of the first end, so they are taken as they are."""
    path = files / "whole.mp4"
    parts = [window(open_video(path), first=first, last=last) for first, last in ((0, HALF), (HALF, len(FRAMES)))]
    assert_continued(predictor, path, *parts, tmp_path / "state")


@pytest.mark.parametrize("start", [0.0, 1.0, -7.0, 5000.0])
def test_iterators_whose_times_go_on(predictor, tmp_path, start):
    frames = [(start + seconds, frame) for seconds, frame in TIMED]
    assert_continued(predictor, frames, iter(frames[:HALF]), iter(frames[HALF:]), tmp_path / "state")


def test_bare_frames(predictor, tmp_path):
    parts = (list(FRAMES), list(FRAMES[:HALF]), list(FRAMES[HALF:]))
    assert_continued(predictor, *parts, tmp_path / "state", fps=SOURCE_FPS)


def test_wherever_frames_that_come_now_and_then_are_parted(predictor, tmp_path):
    """A first half may end after its last tick, at a cut, or within a frame that is long on screen."""
    frames = [frame for number, frame in enumerate(TIMED) if number % 13 not in (3, 4, 5, 6, 7, 8, 9) or number == 19]
    expected, _ = watch(predictor, frames)
    for count in range(1, len(frames)):
        first = Ending(frames[:count], at=frames[count][0])
        before, _ = watch(predictor, first, save=tmp_path / "state")
        after, _ = watch(predictor, frames[count:], state=tmp_path / "state")
        assert numbers_of(before + after) == numbers_of(expected), count


@pytest.mark.parametrize("clock", [0.0, 1.5, 9000.0, -9000.0])
def test_cameras_with_clocks_of_their_own(predictor, tmp_path, clock):
    """Also one whose clock happens to be a little later than that of the first."""
    second = [(clock + number / SOURCE_FPS, frame) for number, frame in enumerate(FRAMES[HALF:])]
    assert_continued(predictor, Camera(TIMED), Camera(TIMED[:HALF]), Camera(second), tmp_path / "state")


def test_sessions_of_a_real_camera(predictor, tmp_path):
    frames = FRAMES.numpy()
    parts = (slice(None), slice(HALF), slice(HALF, None))
    servers = [RTSPServer(frames, rate=SOURCE_FPS, part=part) for part in parts]
    with servers[0] as whole, servers[1] as first, servers[2] as second:
        assert_continued(predictor, whole.url, first.url, second.url, tmp_path / "state")


@pytest.mark.parametrize("kind", ["iterator", "file", "camera"])
def test_a_stream_that_was_stopped_in_the_middle(predictor, files, tmp_path, kind):
    """It was read ahead of the last answer; the state is that of the answer."""
    whole = files / "whole.mp4" if kind == "file" else TIMED
    expected, _ = watch(predictor, Camera(whole) if kind == "camera" else whole)
    before, _ = watch(predictor, Camera(whole) if kind == "camera" else whole, stop_after=5, save=tmp_path / "state")
    next_frame = 2 * 5
    if kind == "file":
        with open_video(whole) as reader:
            write_video(
                tmp_path / "rest.mp4",
                reader.frames_at(range(next_frame, len(FRAMES))).frames_THWC,
                fps=SOURCE_FPS,
                crf=0,
            )
        expected, _ = watch(predictor, list(_joined(whole, tmp_path / "rest.mp4", next_frame)))
        rest = tmp_path / "rest.mp4"
    elif kind == "camera":
        rest = Camera([(77 + number / SOURCE_FPS, frame) for number, frame in enumerate(FRAMES[next_frame:])])
    else:
        rest = TIMED[next_frame:]
    after, _ = watch(predictor, rest, state=tmp_path / "state")
    assert len(before) == 5
    assert numbers_of(before + after) == numbers_of(expected)


def _joined(first, second, num_first):
    """Frames of two files as one source, since encoding twice changes them."""
    with open_video(first) as reader:
        frames = [frame for _, frame in reader][:num_first]
    with open_video(second) as reader:
        frames += [frame for _, frame in reader]
    return ((number / SOURCE_FPS, frame) for number, frame in enumerate(frames))


def test_a_stream_that_is_stopped_while_its_source_is_silent(predictor, tmp_path):
    more = threading.Event()

    def stalls():
        yield from TIMED[:HALF]
        more.wait()

    expected, _ = watch(predictor, TIMED)
    before, _ = watch(predictor, stalls(), seconds=1.0, save=tmp_path / "state")
    more.set()
    after, _ = watch(predictor, TIMED[2 * len(before) - 1 :], state=tmp_path / "state")
    assert numbers_of(before + after) == numbers_of(expected)


def test_frames_that_are_pushed(predictor, tmp_path):
    def push(stream, frames):
        return [answer for seconds, frame in frames for answer in stream.push(seconds, frame)]

    expected, expected_end = watch(predictor, TIMED)
    # From 0 on again, after the end of the first source was said: in the same stream, and in one that is restored.
    for continues in (False, True):
        stream = predictor.open()
        answers = push(stream, TIMED[:HALF]) + stream.finish(HALF / SOURCE_FPS)[0]
        if continues:
            stream.save(tmp_path / "state")
            stream.close()
            stream = predictor.open(state=tmp_path / "state")
        answers += push(stream, [(number / SOURCE_FPS, frame) for number, frame in enumerate(FRAMES[HALF:])])
        last, _ = stream.finish((len(FRAMES) - HALF) / SOURCE_FPS)
        assert numbers_of(answers + last) == numbers_of(expected)
        assert tuple(stream.ongoing_events(stream.end_seconds)) == expected_end.events
        stream.close()
    # In the middle, with times that go on, after a StreamRunner was stopped.
    before, _ = watch(predictor, TIMED, stop_after=7, save=tmp_path / "state")
    stream = predictor.open(state=tmp_path / "state")
    after = push(stream, TIMED[13:]) + stream.finish(len(FRAMES) / SOURCE_FPS)[0]
    stream.close()
    assert numbers_of(before + after) == numbers_of(expected)


def test_a_real_silence_between_two_sources_is_said(predictor, tmp_path):
    watch(predictor, TIMED[:HALF], save=tmp_path / "state")
    late = [(seconds + 3, frame) for seconds, frame in TIMED[HALF:]]
    after, _ = watch(predictor, late, state=tmp_path / "state")
    assert (after[0].reset, after[0].seconds, after[0].num_frames) == ("gap", 4.0, 1)
    fresh, _ = watch(predictor, late)
    assert np.array_equal(after[0].probabilities, fresh[0].probabilities)


def test_a_source_that_gives_nothing_leaves_the_state_as_it_was(predictor, tmp_path):
    expected, _ = watch(predictor, TIMED)
    before, end = watch(predictor, TIMED[:HALF], save=tmp_path / "state")
    nothing, same_end = watch(predictor, [], state=tmp_path / "state", save=tmp_path / "state")
    after, _ = watch(predictor, TIMED[HALF:], state=tmp_path / "state")
    assert nothing == [] and (same_end.seconds, same_end.events) == (end.seconds, end.events)
    assert numbers_of(before + after) == numbers_of(expected)


def test_a_state_without_what_it_should_hold_is_refused(predictor, tmp_path):
    watch(predictor, TIMED[:HALF], save=tmp_path / "state")
    stream = predictor.open()
    stream.engine.save(stream.slot, tmp_path / "other", {f"{stream._tracker.settings}/other": FRAMES[0].numpy()})
    stream.close()
    with pytest.raises(WeightsError, match="other: a damaged state of a stream"):
        predictor.open(state=tmp_path / "other")
    assert predictor.engine.num_streams == 0


def test_answers_are_on_the_clock_of_the_stream(predictor, tmp_path):
    watch(predictor, TIMED[:HALF], save=tmp_path / "state")
    after, end = watch(predictor, Camera(TIMED), state=tmp_path / "state")
    assert [answer.pts_seconds for answer in after] == pytest.approx([answer.seconds for answer in after])
    assert after[0].seconds == HALF / SOURCE_FPS
    assert end.seconds == after[-1].seconds and isinstance(after[-1], StreamPrediction)
