"""The laws of the sampler that takes frames by their timestamps."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.errors import ConfigError
from lsn.video.frame_sampler import SAME_TIME_SECONDS, FrameSampler, on_screen

rates = st.sampled_from([1.0, 2.5, 10.0, 12.5, 15.0, 24.0, 30000 / 1001, 60.0])
gaps = st.lists(st.sampled_from([0.001, 1 / 60, 1 / 30, 0.04, 0.08, 0.3]), max_size=60)
# Whatever a broken camera may send, on a grid that keeps times apart or equal, never nearly equal.
times = st.lists(st.integers(-3000, 3000).map(lambda number: number / 128), min_size=1, max_size=60)
starts = st.sampled_from([-1.5, 0.0, 0.04, 17.0, 5000.25])


def ticks_of(pts_seconds, fps, *, end_seconds=None, hold_seconds=1.0):
    """The ticks of frames that are their own numbers, and the sampler."""
    sampler = FrameSampler(fps, longest_hold_seconds=hold_seconds)
    ticks = [tick for number, pts in enumerate(pts_seconds) for tick in sampler.push(pts, number)]
    if end_seconds is not None:
        ticks += sampler.finish(end_seconds)
    return ticks, sampler


def summed(start, gaps):
    pts_seconds = [start]
    for gap in gaps:
        pts_seconds.append(pts_seconds[-1] + gap)
    return pts_seconds


@given(start=starts, gaps=gaps, fps=rates)
def test_ticks_are_at_multiples_of_the_rate_from_the_first_frame_to_the_end(start, gaps, fps):
    pts_seconds = summed(start, gaps)
    end_seconds = pts_seconds[-1] + 0.1
    ticks, sampler = ticks_of(pts_seconds, fps, end_seconds=end_seconds)
    assert [tick.seconds for tick in ticks] == [start + number / fps for number in range(len(ticks))]
    assert ticks[-1].seconds < end_seconds <= start + len(ticks) / fps + 2 * SAME_TIME_SECONDS
    assert [tick.is_discontinuity for tick in ticks] == [True] + [False] * (len(ticks) - 1)
    assert sampler.num_late == 0


@given(start=starts, gaps=gaps, fps=rates)
def test_each_tick_has_the_frame_that_is_on_screen(start, gaps, fps):
    pts_seconds = summed(start, gaps)
    ticks, _ = ticks_of(pts_seconds, fps, end_seconds=pts_seconds[-1] + 0.1)
    assert [tick.frame for tick in ticks] == on_screen(pts_seconds, [tick.seconds for tick in ticks])
    assert [tick.pts_seconds for tick in ticks] == [pts_seconds[tick.frame] for tick in ticks]


@given(pts_seconds=times, fps=rates)
def test_nothing_is_seen_before_its_time_or_too_long_after(pts_seconds, fps):
    ticks, sampler = ticks_of(pts_seconds, fps, end_seconds=pts_seconds[-1] + 10)
    for tick in ticks:
        shown_seconds = tick.seconds - tick.pts_seconds
        assert -2 * SAME_TIME_SECONDS <= shown_seconds <= sampler.longest_hold_seconds


@given(pts_seconds=times, fps=rates)
def test_frames_that_do_not_go_on_are_counted_and_others_are_not(pts_seconds, fps):
    _, sampler = ticks_of(pts_seconds, fps)
    num_late, last = 0, pts_seconds[0]
    for pts in pts_seconds[1:]:
        if -sampler.longest_hold_seconds <= pts - last <= 0:
            num_late += 1
        else:
            last = pts
    assert sampler.num_late == num_late


@given(pts_seconds=times, fps=rates)
def test_ticks_restart_at_the_first_frame_and_after_every_gap_or_jump(pts_seconds, fps):
    ticks, sampler = ticks_of(pts_seconds, fps)
    expected, last = [0], pts_seconds[0]
    for number, pts in enumerate(pts_seconds):
        if abs(pts - last) > sampler.longest_hold_seconds:
            expected.append(number)
        if abs(pts - last) > sampler.longest_hold_seconds or pts > last:
            last = pts
    firsts = [tick for tick in ticks if tick.is_discontinuity]
    assert [tick.frame for tick in firsts] == expected
    assert all(tick.seconds == tick.pts_seconds == pts_seconds[tick.frame] for tick in firsts)


@given(pts_seconds=times, fps=rates)
def test_within_a_run_ticks_are_one_period_apart(pts_seconds, fps):
    ticks, _ = ticks_of(pts_seconds, fps, end_seconds=pts_seconds[-1] + 0.5)
    start = count = 0
    for tick in ticks:
        start, count = (tick.seconds, 0) if tick.is_discontinuity else (start, count + 1)
        assert tick.seconds == start + count / fps


@given(pts_seconds=times, fps=rates)
def test_the_ticks_up_to_a_frame_do_not_depend_on_what_comes_later(pts_seconds, fps):
    whole, _ = ticks_of(pts_seconds, fps)
    part, _ = ticks_of(pts_seconds[: len(pts_seconds) // 2], fps)
    assert whole[: len(part)] == part


@given(start=starts, gaps=gaps, fps=rates, data=st.data())
def test_another_sampler_continues_from_any_tick(start, gaps, fps, data):
    pts_seconds = summed(start, gaps)
    whole, _ = ticks_of(pts_seconds, fps, end_seconds=pts_seconds[-1] + 0.1)
    place = data.draw(st.integers(0, len(whole) - 1))
    sampler = FrameSampler(fps)
    sampler.resume(whole[place].position)
    assert sampler.position == whole[place].position
    rest = range(whole[place].frame + 1, len(pts_seconds))
    ticks = [tick for number in rest for tick in sampler.push(pts_seconds[number], number)]
    assert ticks + list(sampler.finish(pts_seconds[-1] + 0.1)) == whole[place + 1 :]


@given(start=starts, gaps=gaps, fps=rates, data=st.data(), other=st.sampled_from([0.0, 0.5, -300.0, 9e5]))
def test_a_source_of_another_clock_continues_where_the_one_before_ended(start, gaps, fps, data, other):
    pts_seconds = summed(start, gaps)
    whole, _ = ticks_of(pts_seconds, fps, end_seconds=pts_seconds[-1] + 0.1)
    count = data.draw(st.integers(1, len(pts_seconds)))
    first = FrameSampler(fps)
    ticks = [tick for number in range(count) for tick in first.push(pts_seconds[number], number)]
    ticks += first.finish(pts_seconds[count] if count < len(pts_seconds) else pts_seconds[-1] + 0.1)
    sampler = FrameSampler(fps)
    sampler.resume(first.position)
    sampler.next_source(is_foreign=True)
    shift = other - pts_seconds[count] if count < len(pts_seconds) else 0.0
    for number in range(count, len(pts_seconds)):
        ticks += sampler.push(pts_seconds[number] + shift, number)
    ticks += sampler.finish(pts_seconds[-1] + 0.1 + shift)
    assert [(tick.seconds, tick.frame) for tick in ticks] == [(tick.seconds, tick.frame) for tick in whole]
    assert sampler.num_late == 0


@pytest.mark.parametrize(
    ("first_seconds", "is_foreign", "resumes_at", "expected"),
    [
        (2.0, False, None, [(2.0, False), (2.5, False)]),  # goes on
        (2.5, False, None, [(2.0, False), (2.5, False), (3.0, False)]),  # the last frame is held until then
        (9.0, False, None, [(9.0, True), (9.5, False)]),  # a gap
        (1.5, False, None, [(2.0, False), (2.5, False)]),  # at the last frame: not later, so at the end
        (0.0, False, None, [(2.0, False), (2.5, False)]),
        (-50.0, False, None, [(2.0, False), (2.5, False)]),
        (2.75, True, None, [(2.0, False), (2.5, False)]),
        (9.0, True, None, [(2.0, False), (2.5, False)]),
        (0.0, True, 2.25, [(2.25, True), (2.75, False)]),  # when it came back is known
    ],
)
def test_where_another_source_comes(first_seconds, is_foreign, resumes_at, expected):
    """After a source with frames at 1 and 1.5 seconds that ended at 2, at two ticks a second."""
    sampler = FrameSampler(2.0)
    assert len([*sampler.push(1.0, "a"), *sampler.push(1.5, "b"), *sampler.finish(2.0)]) == 2
    sampler.next_source(is_foreign=is_foreign, resumes_at=resumes_at)
    ticks = [*sampler.push(first_seconds, "c"), *sampler.push(first_seconds + 0.5, "d")]
    assert [(tick.seconds, tick.is_discontinuity) for tick in ticks] == expected


def test_a_source_that_was_left_before_its_end_is_continued_at_the_next_tick():
    (tick,) = FrameSampler(2.0).push(1.0, "a")
    sampler = FrameSampler(2.0)
    sampler.resume(tick.position)
    assert [(tick.seconds, tick.frame) for tick in sampler.push(0.0, "b")] == [(1.5, "b")]


def test_a_source_without_length_is_continued_at_the_next_tick():
    sampler = FrameSampler(2.0)
    assert len([*sampler.push(1.0, "a"), *sampler.finish(1.0)]) == 1
    assert [(tick.seconds, tick.frame) for tick in sampler.push(0.0, "b")] == [(1.5, "b")]


def test_no_frames_no_ticks():
    assert ticks_of([], 25.0, end_seconds=5.0)[0] == []


def test_slow_ticks_outlast_a_short_hold():
    ticks, _ = ticks_of([0.0, 0.9, 1.8, 2.7], 0.5, hold_seconds=0.1)
    assert [(tick.seconds, tick.frame, tick.is_discontinuity) for tick in ticks] == [(0.0, 0, True), (2.0, 2, False)]


def test_on_screen_before_the_first_frame_is_the_first():
    assert on_screen([0.5, 1.0], [0.0, 0.5, 0.9, 1.0, 9.0]) == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_numbers_that_make_no_sampler(wrong):
    with pytest.raises(ConfigError, match=r"fps is .*finite number above 0"):
        FrameSampler(wrong)
    with pytest.raises(ConfigError, match=r"longest_hold_seconds is .*finite number above 0"):
        FrameSampler(25.0, longest_hold_seconds=wrong)


def test_more_ticks_than_any_camera_has_frames_make_no_sampler():
    with pytest.raises(ConfigError, match=r"fps is 1000000000\.0; it must be at most 1000"):
        FrameSampler(1e9)
