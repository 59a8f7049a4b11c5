"""A capture thread gives the ticks of its source, and loses only what its policy says, counted."""

import threading
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from video_files import picture

from lsn.errors import ConfigError, VideoError
from lsn.video import open_video, write_video
from lsn.video.frame_sampler import FrameSampler, Tick, on_screen
from lsn.video.live.capture_thread import CaptureThread, FrameCounts
from lsn.video.live.opening import open_live
from lsn.video.live.options import SourceOptions
from lsn.video.live.source import LiveFrame
from lsn.video.live.tick_queue import TickQueue

LONG = 20.0  # seconds that no test waits unless something is broken


def numbered(number):
    return np.full((2, 2, 3), number, np.uint8)


def pairs(numbers, *, fps=10, done=None):
    """Frames that are their own numbers, one a tick; the event says that all of them are in the queue."""
    for number in numbers:
        yield number / fps, numbered(number)
    if done is not None:
        done.set()


def numbers_of(ticks):
    return [int(tick.frame[0, 0, 0]) for tick in ticks]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("capture") / "clip.mp4"
    write_video(path, np.stack([picture(number) for number in range(50)]), fps=25)
    return path


@pytest.mark.parametrize("fps", [4.0, 12.5, 25.0, 40.0])
def test_a_file_gives_what_is_on_screen(clip, fps):
    with CaptureThread(clip, FrameSampler(fps)) as capture, open_video(clip) as reader:
        ticks = list(capture)
        moments = [number / fps for number in range(round(2 * fps))]
        frames = on_screen(reader.pts_seconds.tolist(), moments)
        assert [tick.seconds for tick in ticks] == moments
        assert [tick.pts_seconds for tick in ticks] == reader.pts_seconds[frames].tolist()
        assert np.array_equal([tick.frame for tick in ticks], reader.frames_at(frames).frames_THWC)
        assert [tick.is_discontinuity for tick in ticks] == [True] + [False] * (len(ticks) - 1)
        assert capture.counts == FrameCounts(num_frames=50, num_ticks=len(ticks))
        assert capture.is_finished and capture.get() is None


def test_frames_that_nobody_looks_at_are_not_made(clip):
    with CaptureThread(clip, FrameSampler(5.0)) as capture:
        ticks = list(capture)
        assert len({tick.frame.ctypes.data for tick in ticks}) == len(ticks) == 10
    with CaptureThread(((number / 5, numbered(number)) for number in range(4)), FrameSampler(20.0)) as capture:
        assert len({tick.frame.ctypes.data for tick in list(capture)}) == 4  # four ticks share one picture


def test_one_scene_at_any_rate_gives_ticks_at_the_same_moments(tmp_path):
    """Each frame's shade is its time; a tick may be as old as one frame."""
    found = {}
    for rate, name in ((60, "60"), (30, "30"), (Fraction(25, 2), "12.5")):
        count = round(2.4 * rate)
        shades = [np.full((16, 16, 3), 20 + round(80 * number / rate), np.uint8) for number in range(count)]
        write_video(tmp_path / f"{name}.mp4", np.stack(shades), fps=rate, crf=0)
        with CaptureThread(tmp_path / f"{name}.mp4", FrameSampler(10.0)) as capture:
            found[name] = [(tick.seconds, float(tick.frame.mean())) for tick in capture]
    with open_live(tmp_path / "60.mp4") as source:
        kept = [(f.pts_seconds, f.rgb()) for number, f in enumerate(source) if number % 7 not in (2, 3, 5)]
    with CaptureThread(kept, FrameSampler(10.0)) as capture:
        found["dropped"] = [(tick.seconds, float(tick.frame.mean())) for tick in capture]
    for name, ticks in found.items():
        assert [seconds for seconds, _ in ticks] == [number / 10 for number in range(24)], name
        for seconds, shade in ticks:
            assert 20 + 80 * (seconds - 0.08) - 4 <= shade <= 20 + 80 * seconds + 4, (name, seconds)


def test_a_folder_has_the_rate_that_it_is_given(tmp_path):
    for number in range(6):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.jpg")
    with CaptureThread(tmp_path, FrameSampler(4.0), SourceOptions(fps=2.0)) as capture, open_video(tmp_path) as reader:
        ticks = list(capture)
        assert [tick.seconds for tick in ticks] == [number / 4 for number in range(12)]
        assert np.array_equal(ticks[5].frame, reader.frames_at([2]).frames_THWC[0])


def test_block_loses_nothing_and_reads_no_further_than_there_is_room():
    taken = 0
    ahead = []

    def watched():
        for number, pair in enumerate(pairs(range(40))):
            ahead.append(number - taken)
            yield pair

    with CaptureThread(watched(), FrameSampler(10.0), SourceOptions(policy="block"), capacity=3) as capture:
        numbers = []
        for tick in capture:
            numbers += numbers_of([tick])
            taken += 1
        assert numbers == list(range(40))
        assert max(ahead) <= 3 + 2  # in the queue, in the thread's hands, and in ours
        assert capture.counts == FrameCounts(num_frames=40, num_ticks=40)


@pytest.mark.parametrize(
    ("policy", "kept"), [("drop_oldest", [16, 17, 18, 19]), ("drop_newest", [0, 1, 2, 3]), ("block", range(20))]
)
def test_what_a_slow_consumer_gets(policy, kept):
    done = threading.Event()
    with CaptureThread(
        pairs(range(20), done=done), FrameSampler(10.0), SourceOptions(policy=policy), capacity=4
    ) as capture:
        if policy != "block":
            assert done.wait(LONG)
        ticks = list(capture)
        assert numbers_of(ticks) == list(kept)
        assert [tick.is_discontinuity for tick in ticks] == [True] + [False] * (len(ticks) - 1)
        assert capture.counts == FrameCounts(num_frames=20, num_ticks=20, num_dropped=20 - len(kept))


def test_a_dropped_start_leaves_its_mark_to_the_next_tick_that_is_taken():
    at_silence, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def with_a_silence():
        yield from pairs(range(3))
        yield from pairs(range(50, 52), done=at_silence)  # a new run, while the queue is full
        go_on.wait(LONG)
        yield from pairs(range(52, 54), done=done)

    with CaptureThread(
        with_a_silence(), FrameSampler(10.0), SourceOptions(policy="drop_newest"), capacity=3
    ) as capture:
        assert at_silence.wait(LONG)
        first = [capture.get(LONG) for _ in range(3)]
        go_on.set()
        assert done.wait(LONG)
        ticks = first + list(capture)
        assert numbers_of(ticks) == [0, 1, 2, 52, 53]
        assert [tick.is_discontinuity for tick in ticks] == [True, False, False, True, False]
        assert capture.counts == FrameCounts(num_frames=7, num_ticks=7, num_dropped=2)


@given(
    policy=st.sampled_from(["drop_oldest", "drop_newest"]),
    capacity=st.integers(1, 4),
    steps=st.lists(st.sampled_from(["tick", "start", "take"]), max_size=60),
)
def test_whatever_is_dropped_no_start_is_lost_and_none_made_up(policy, capacity, steps):
    queue = TickQueue(capacity, threading.Event())
    starts, taken = [], []
    for step in steps:
        if step == "take":
            taken.append(queue.get(0))
        else:
            frame = LiveFrame(0.0, partial(np.array, len(starts)))
            starts.append(step == "start")
            queue.put(Tick(0.0, frame, 0.0, starts[-1], start_seconds=0.0, number=len(starts) - 1), policy)
    queue.end(None)
    while not queue.is_finished:
        taken.append(queue.get(0))
    ticks = [tick for tick in taken if tick is not None]
    assert queue.counts == FrameCounts(num_ticks=len(starts), num_dropped=len(starts) - len(ticks))
    place = 0
    for tick in ticks:
        assert tick.is_discontinuity == any(starts[place : int(tick.frame) + 1])
        place = int(tick.frame) + 1


def test_late_frames_are_counted_and_ticks_restart_after_a_gap():
    times = [0.0, 0.1, 0.1, 0.05, 0.2, 5.0, 5.1, 1.0, 1.1]
    with CaptureThread([(pts, numbered(n)) for n, pts in enumerate(times)], FrameSampler(10.0)) as capture:
        ticks = list(capture)
        assert [(tick.frame[0, 0, 0].item(), tick.is_discontinuity) for tick in ticks] == [
            (0, True), (1, False), (4, False), (5, True), (6, False), (7, True), (8, False),
        ]  # fmt: skip
        assert capture.counts == FrameCounts(num_frames=9, num_ticks=7, num_late=2)


def test_the_hold_is_that_of_the_sampler():
    frames = [(0.0, numbered(0)), (3.0, numbered(1))]
    with CaptureThread(frames, FrameSampler(1.0, longest_hold_seconds=5.0)) as capture:
        assert [tick.is_discontinuity for tick in capture] == [True] + [False] * 5


def test_an_error_comes_after_the_ticks_before_it_and_once():
    def broken():
        yield from pairs(range(3))
        yield 0.3, "no picture"

    with CaptureThread(broken(), FrameSampler(10.0)) as capture:
        assert numbers_of([capture.get(LONG) for _ in range(3)]) == [0, 1, 2]
        assert not capture.is_finished
        with pytest.raises(VideoError, match="iterator of frames: frame 3 is a str"):
            capture.get(LONG)
        assert capture.is_finished and capture.get(LONG) is None


def test_errors_of_an_iterator_come_out_as_they_are():
    def broken():
        yield from pairs(range(2))
        raise KeyError("sensor")

    with CaptureThread(broken(), FrameSampler(10.0)) as capture, pytest.raises(KeyError, match="sensor"):
        list(capture)


def test_a_damaged_file_gives_its_good_frames_first(make_video):
    path = make_video("damaged.mp4", codec="mjpeg", num_frames=10, rate=10, pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    start = [place for place in range(len(data) - 2) if data[place : place + 3] == b"\xff\xd8\xff"][6]
    data[start : start + 400] = bytes(400)
    path.write_bytes(data)
    with CaptureThread(path, FrameSampler(10.0)) as capture:
        ticks = [capture.get(LONG) for _ in range(6)]
        assert [tick.seconds for tick in ticks] == [number / 10 for number in range(6)]
        with pytest.raises(VideoError, match=r"damaged\.mp4: damaged: 6 of 10 frames"):
            capture.get(LONG)


def test_a_source_that_cannot_be_opened_is_reported_at_once(tmp_path):
    with CaptureThread(tmp_path / "none.mp4", FrameSampler(10.0), SourceOptions(reconnect_seconds=None)) as capture:
        with pytest.raises(VideoError, match=r"none\.mp4: no such file"):
            capture.get(LONG)
        assert capture.is_finished and capture.counts == FrameCounts()


def test_nothing_in_time_is_none_and_closing_wakes_who_waits():
    waiting = threading.Event()

    def silent():
        yield 0.0, numbered(0)
        waiting.wait(LONG)

    taken = []
    capture = CaptureThread(silent(), FrameSampler(10.0))
    assert numbers_of([capture.get(LONG)]) == [0]
    assert capture.get(0) is None and not capture.is_finished
    thread = threading.Thread(target=lambda: taken.append(capture.get()))
    thread.start()
    waiting.set()  # an iterator cannot be interrupted, so that its end is ours to allow
    capture.close()
    thread.join(LONG)
    assert taken == [None] and capture.is_finished


def test_closing_while_it_waits_for_room_ends_the_thread(clip):
    ready = threading.Event()
    before = set(threading.enumerate())
    capture = CaptureThread(clip, FrameSampler(25.0), capacity=1, on_ready=ready)
    assert ready.wait(LONG)
    capture.close()
    capture.close()
    assert set(threading.enumerate()) <= before
    assert capture.is_finished and capture.get() is None


def test_one_event_reports_many_threads():
    ready, gates = threading.Event(), [threading.Semaphore(0) for _ in range(8)]

    def gated(place):
        for number in range(5):
            gates[place].acquire(timeout=LONG)
            yield number / 10, numbered(10 * place + number)

    captures = [CaptureThread(gated(place), FrameSampler(10.0), on_ready=ready) for place in range(8)]
    order = [place for number in range(5) for place in ((3 * number + k) % 8 for k in range(8))]
    for place in order:
        gates[place].release()
        found = []
        while not found:
            assert ready.wait(LONG)
            ready.clear()
            found = [(n, tick) for n, capture in enumerate(captures) if (tick := capture.get(0)) is not None]
        assert [n for n, _ in found] == [place]
    while not all(capture.is_finished for capture in captures):
        assert ready.wait(LONG)
        ready.clear()
    for capture in captures:
        assert capture.counts == FrameCounts(num_frames=5, num_ticks=5)
        capture.close()


def test_the_time_that_a_tick_took_is_known(clip):
    with CaptureThread(clip, FrameSampler(25.0)) as capture:
        assert capture.decode_ms == 0.0
        assert sum(capture.decode_ms for _ in capture) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"capacity": 0}, "room for 0 waiting ticks; there must be room for at least 1"),
        ({"backoff_seconds": ()}, "expected one or more pauses"),
        ({"backoff_seconds": (1.0, -2.0)}, "expected one or more pauses"),
    ],
)
def test_arguments_that_do_not_fit(arguments, words):
    with pytest.raises(ConfigError, match=words):
        CaptureThread([], FrameSampler(10.0), **arguments)


def test_a_function_sets_the_rate_of_what_it_opens(clip):
    with pytest.raises(ConfigError, match="let the function set it"):
        CaptureThread(lambda: open_live(clip), FrameSampler(10.0), SourceOptions(fps=5.0))
    with CaptureThread(lambda: open_live(clip), FrameSampler(5.0)) as capture:
        assert len(list(capture)) == 10
    with CaptureThread(open_live(clip), FrameSampler(5.0)) as capture:
        assert len(list(capture)) == 10
