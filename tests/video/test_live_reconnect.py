"""Live sources that are lost and come back, or do not."""

import logging
import threading
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from http_server import Server, jpeg, motion_jpeg
from rtsp_server import RTSPServer
from video_files import picture

from lsn.errors import VideoError
from lsn.video.frame_sampler import FrameSampler
from lsn.video.live.capture_thread import CaptureThread, FrameCounts
from lsn.video.live.file_source import IteratorSource
from lsn.video.live.opening import open_live
from lsn.video.live.options import SourceOptions

LONG = 20.0
AT_ONCE = (0.01,)


class Camera(IteratorSource):
    """A live source by the script: times, then an error if one is given."""

    is_live = True

    def __init__(self, times, error=None):
        super().__init__(self._scripted(times, error), name="camera")

    def _scripted(self, times, error):
        for seconds in times:
            yield seconds, np.zeros((2, 2, 3), np.uint8)
        if error is not None:
            raise VideoError(error)


def opens(*script):
    """A function that opens one camera after the other, raises what is an error, and then opens nothing more."""
    left = list(script)

    def open_next():
        if not left:
            raise VideoError("camera: connection refused")
        camera = left.pop(0)
        if isinstance(camera, VideoError):
            raise camera
        return camera

    return open_next


def test_a_server_that_is_killed_and_started_again(caplog):
    caplog.set_level(logging.WARNING, "lsn")
    images = [jpeg(picture(number)) for number in range(6)]
    never = threading.Event()
    with Server({"/": motion_jpeg(images, until=never)}) as server:
        port, url = server.server_port, server.url
        open_camera = partial(open_live, url, SourceOptions(timeout_seconds=LONG))
        capture = CaptureThread(
            open_camera,
            FrameSampler(10.0),
            SourceOptions(policy="block", reconnect_seconds=LONG),
            backoff_seconds=AT_ONCE,
        )
        with capture:
            before = [capture.get(LONG)]
            server.kill()
            with Server({"/": motion_jpeg(images, until=never)}, port=port) as again:
                while len(before) < 2 or not before[-1].is_discontinuity:
                    before.append(capture.get(LONG))
                again.kill()
        never.set()
    assert before[0].is_discontinuity and not any(tick.is_discontinuity for tick in before[1:-1])
    assert all(later.seconds > earlier.seconds for earlier, later in pairwise(before))
    assert capture.counts.num_reconnects == 1
    # Killed in the end, the second server may be seen to be lost too, before the capture is closed.
    lost, back, *_ = (
        record for record in caplog.records if record.levelno == logging.WARNING and url in record.message
    )
    assert lost.message.startswith(f"{url}: lost after ") and lost.message.endswith("opening it again")
    assert back.message.startswith(f"{url}: back after ")


def test_a_camera_whose_sessions_end_goes_on_with_later_times():
    pictures = [picture(number) for number in range(6)]
    with (
        RTSPServer(pictures, rate=10) as server,
        CaptureThread(
            server.url, FrameSampler(10.0), SourceOptions(policy="block"), backoff_seconds=AT_ONCE
        ) as capture,
    ):
        ticks = [capture.get(LONG) for _ in range(14)]
    assert [tick.is_discontinuity for tick in ticks] == [number % 6 == 0 for number in range(14)]
    times = np.array([tick.seconds for tick in ticks])
    assert np.diff(times)[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12]] == pytest.approx([0.1] * 11)
    assert (np.diff(times) > 0.09).all()
    for number, tick in enumerate(ticks):
        assert abs(tick.frame.astype(int) - pictures[number % 6]).mean() < 12


def test_ticks_restart_however_long_a_frame_may_stay():
    script = opens(Camera([5.0, 5.1], "camera: lost"), Camera([0.0, 0.1]))
    capture = CaptureThread(
        script,
        FrameSampler(10.0, longest_hold_seconds=100.0),
        SourceOptions(policy="block", reconnect_seconds=0.5),
        backoff_seconds=AT_ONCE,
    )
    with capture:
        ticks = [capture.get(LONG) for _ in range(4)]
    assert [tick.is_discontinuity for tick in ticks] == [True, False, True, False]
    assert ticks[2].seconds > 5.2 - 1e-6  # the last frame before the loss was shown for 0.1 s
    assert ticks[3].seconds == pytest.approx(ticks[2].seconds + 0.1)


def test_the_gap_is_the_time_that_has_passed(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("lsn.video.live.capture_thread.time", SimpleNamespace(monotonic=lambda: now))
    open_next = opens(Camera([5.0, 5.1], "camera: lost"), Camera([0.0, 0.1]))

    def open_later():
        nonlocal now
        now += 7.5
        return open_next()

    with CaptureThread(
        open_later, FrameSampler(10.0), SourceOptions(policy="block", reconnect_seconds=LONG), backoff_seconds=AT_ONCE
    ) as capture:
        ticks = [capture.get(LONG) for _ in range(4)]
    assert [tick.seconds for tick in ticks] == pytest.approx([5.0, 5.1, 5.1 + 7.5, 5.2 + 7.5])


def test_attempts_that_fail_or_give_no_frame_are_one_loss(caplog):
    caplog.set_level(logging.WARNING, "lsn")
    refused = VideoError("camera: connection refused")
    script = opens(Camera([0.0]), refused, Camera([], "camera: lost after 0 frames"), refused, Camera([0.0]))
    with CaptureThread(
        script, FrameSampler(10.0), SourceOptions(reconnect_seconds=None), backoff_seconds=AT_ONCE
    ) as capture:
        assert [capture.get(LONG).is_discontinuity for _ in range(2)] == [True, True]
        assert capture.counts == FrameCounts(num_frames=2, num_ticks=2, num_reconnects=1)
        messages = [record.message for record in caplog.records]
        assert messages[0] == "camera: ended; opening it again"
        assert messages[1].startswith("camera: back after ")


def test_what_does_not_come_back_is_given_up():
    script = opens(Camera([0.0, 0.1], "camera: lost after 2 frames: silence"))
    with CaptureThread(
        script, FrameSampler(10.0), SourceOptions(reconnect_seconds=0.05), backoff_seconds=AT_ONCE
    ) as capture:
        assert [capture.get(LONG).is_discontinuity for _ in range(2)] == [True, False]
        with pytest.raises(VideoError, match=r"camera: connection refused; it did not come back within 0.05 s \(\d+ "):
            capture.get(LONG)
        assert capture.is_finished and capture.counts.num_reconnects == 0


def test_one_attempt_is_made_even_if_the_first_pause_is_longer_than_the_time():
    script = opens(Camera([0.0]), Camera([0.0]))
    with CaptureThread(
        script, FrameSampler(10.0), SourceOptions(reconnect_seconds=0.05), backoff_seconds=(1000.0,)
    ) as capture:
        assert [capture.get(LONG).is_discontinuity for _ in range(2)] == [True, True]


def test_a_first_opening_that_fails_is_not_tried_again():
    calls = []

    def open_nothing():
        calls.append(1)
        raise VideoError("camera: connection refused")

    with CaptureThread(
        open_nothing, FrameSampler(10.0), SourceOptions(reconnect_seconds=None), backoff_seconds=AT_ONCE
    ) as capture:
        with pytest.raises(VideoError, match=r"^camera: connection refused$"):
            capture.get(LONG)
        assert len(calls) == 1


@pytest.mark.parametrize("error", [None, "camera: lost"])
def test_zero_seconds_are_no_attempt(error):
    with CaptureThread(
        opens(Camera([0.0, 0.1], error)), FrameSampler(10.0), SourceOptions(reconnect_seconds=0)
    ) as capture:
        assert [capture.get(LONG).seconds for _ in range(2)] == [0.0, 0.1]
        if error is None:
            assert capture.get(LONG) is None
        else:
            with pytest.raises(VideoError, match=r"^camera: lost$"):
                capture.get(LONG)
        assert capture.is_finished


def test_a_source_that_was_given_open_is_not_opened_again():
    with CaptureThread(Camera([0.0, 0.1]), FrameSampler(10.0), SourceOptions(reconnect_seconds=None)) as capture:
        assert len(list(capture)) == 2
        assert capture.is_finished


def test_live_sources_drop_the_oldest_by_default():
    done = threading.Event()

    def times():
        yield from (number / 10 for number in range(10))
        done.set()

    with CaptureThread(
        opens(Camera(times())), FrameSampler(10.0), SourceOptions(reconnect_seconds=0), capacity=2
    ) as capture:
        assert done.wait(LONG)
        assert [tick.seconds for tick in capture] == [0.8, 0.9]
        assert capture.counts == FrameCounts(num_frames=10, num_ticks=10, num_dropped=8)


def test_closing_during_a_pause_ends_the_thread():
    before = set(threading.enumerate())
    with CaptureThread(
        opens(Camera([0.0])), FrameSampler(10.0), SourceOptions(reconnect_seconds=None), backoff_seconds=(1000.0,)
    ) as capture:
        assert capture.get(LONG).is_discontinuity
    assert set(threading.enumerate()) <= before
