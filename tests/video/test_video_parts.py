"""Windows, arrays in memory, and the contract that all readers share."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from video_files import picture

import lsn.video.decoding.reader as reader_module
from lsn.errors import VideoError
from lsn.video import VideoReader, array_reader, open_video, window

FRAMES = np.stack([picture(number, 16, 12) for number in range(30)])


def test_an_array_is_a_video():
    with array_reader(FRAMES, 10) as reader:
        assert isinstance(reader, VideoReader)
        assert (reader.num_frames, reader.info.width, reader.info.height) == (30, 16, 12)
        assert (reader.info.duration_seconds, reader.info.average_fps) == (3.0, 10.0)
        batch = reader.frames_at([7, 2, 7])
        np.testing.assert_array_equal(batch.frames_THWC.numpy(), FRAMES[[7, 2, 7]])
        assert batch.pts_seconds.tolist() == [0.7, 0.2, 0.7]
        assert len(list(reader)) == 30


def test_tensors_and_views_are_arrays_too():
    flipped = FRAMES[::-1, :, ::-1]
    np.testing.assert_array_equal(array_reader(flipped, 5).frames_at([0, 29]).frames_THWC, flipped[[0, 29]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that must not be written to
        read_only = np.broadcast_to(FRAMES[:1], FRAMES.shape)
        np.testing.assert_array_equal(array_reader(read_only, 5).frames_at([29]).frames_THWC, FRAMES[:1])
        from_bytes = np.frombuffer(FRAMES.tobytes(), np.uint8).reshape(FRAMES.shape)
        np.testing.assert_array_equal(array_reader(from_bytes, 5).frames_at([29]).frames_THWC, FRAMES[29:])
    tensor = torch.from_numpy(FRAMES)
    assert torch.equal(array_reader(tensor, 5).frames_at(range(30)).frames_THWC, tensor)


@pytest.mark.parametrize(
    "frames",
    [FRAMES.astype(np.float32), FRAMES[0], FRAMES[..., :1], FRAMES[:0], np.moveaxis(FRAMES, -1, 1)],
    ids=["floats", "one frame", "grey", "none", "channels first"],
)
def test_other_arrays_are_refused(frames):
    with pytest.raises(VideoError, match=r"expected uint8 frames of shape \(frames, height, width, 3\)"):
        array_reader(frames, 10)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_arrays_need_a_rate(fps):
    with pytest.raises(VideoError, match="must be a finite number above 0"):
        array_reader(FRAMES, fps)


@given(indices=st.lists(st.integers(0, 29), min_size=1, max_size=40), frames_a_stack=st.integers(1, 12))
def test_transforming_on_the_way_is_transforming_the_stack(indices, frames_a_stack):
    seen = []

    def transform(frames_THWC):
        assert len(frames_THWC) <= frames_a_stack
        seen.extend(frames_THWC[:, 1, 3].tolist())
        return frames_THWC.sum(dim=3)[:, :5]

    with array_reader(FRAMES, 10) as reader, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(reader_module, "STACK_BYTES", frames_a_stack * FRAMES[0].nbytes + 1)
        rows = reader.transformed_at(indices, transform)
        stacked = reader.frames_at(indices).frames_THWC
    assert torch.equal(rows, stacked.sum(dim=3)[:, :5])
    assert seen == FRAMES[sorted(set(indices)), 1, 3].tolist()  # each frame once


def test_frames_are_copies_of_the_array():
    array = FRAMES.copy()
    with array_reader(array, 10) as reader:
        reader.frames_at([3]).frames_THWC.zero_()
        reader.transformed_at([4], lambda frames: frames).zero_()
        next(iter(reader))[1].zero_()
    np.testing.assert_array_equal(array, FRAMES)


@given(first=st.integers(0, 29), length=st.integers(1, 30), index=st.integers(0, 29))
def test_a_window_is_a_slice(first, length, index):
    last = min(30, first + length)
    part = window(array_reader(FRAMES, 10), first=first, last=last)
    assert part.num_frames == last - first
    index %= part.num_frames
    batch = part.frames_at([index])
    np.testing.assert_array_equal(batch.frames_THWC[0].numpy(), FRAMES[first + index])
    assert batch.pts_seconds[0] == pytest.approx((first + index) / 10)
    assert part.info.duration_seconds == pytest.approx((last - first) / 10)
    np.testing.assert_array_equal(torch.stack([frame for _, frame in part]), FRAMES[first:last])


def test_a_window_of_a_window_of_a_file(make_video):
    with open_video(make_video("window.mp4", g="12", bf="2")) as whole:
        expected = whole.frames_at(range(25, 35))
    with window(
        window(open_video(make_video("window.mp4", g="12", bf="2")), first=20, last=50), first=5, last=15
    ) as part:
        assert part.info.num_frames == 10
        assert torch.equal(part.frames_at(range(10)).frames_THWC, expected.frames_THWC)
        assert torch.equal(part.pts_seconds, expected.pts_seconds)
        assert torch.equal(torch.stack([frame for _, frame in part]), expected.frames_THWC)
        with pytest.raises(VideoError, match="no frame 10; it has frames 0 to 9"):
            part.frames_at([10])


@pytest.mark.parametrize(("first", "last"), [(5, 5), (6, 5), (-1, 5), (0, 31), (30, 31)])
def test_windows_outside_the_video_are_refused(first, last):
    with pytest.raises(VideoError, match="in a video of 30 frames; the window needs 0 <= first < last <= 30"):
        window(array_reader(FRAMES, 10), first=first, last=last)


def test_closing_a_window_closes_its_reader():
    class Closable(VideoReader):
        closed = False
        info = array_reader(FRAMES, 10).info
        pts_seconds = array_reader(FRAMES, 10).pts_seconds

        def _frames(self, indices):
            return iter(())

        def close(self):
            self.closed = True

    reader = Closable()
    with window(reader, first=0, last=3):
        assert not reader.closed
    assert reader.closed
