"""Windows, arrays in memory, and the contract that all readers share."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_torchcodec_reader import needs_torchcodec
from torchvision.tv_tensors import Video
from video_files import TURNS, picture, turned

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
        np.testing.assert_array_equal(batch.frames_THWC, FRAMES[[7, 2, 7]])
        assert batch.pts_seconds.tolist() == [0.7, 0.2, 0.7]
        assert len(list(reader)) == 30


def test_tensors_and_views_are_arrays_too():
    flipped = FRAMES[::-1, :, ::-1]
    np.testing.assert_array_equal(array_reader(flipped, 5).frames_at([0, 29]).frames_THWC, flipped[[0, 29]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_only = np.broadcast_to(FRAMES[:1], FRAMES.shape)
        np.testing.assert_array_equal(array_reader(read_only, 5).frames_at([29]).frames_THWC, FRAMES[:1])
        from_bytes = np.frombuffer(FRAMES.tobytes(), np.uint8).reshape(FRAMES.shape)
        np.testing.assert_array_equal(array_reader(from_bytes, 5).frames_at([29]).frames_THWC, FRAMES[29:])
    tensor = torch.from_numpy(FRAMES)
    for kind in (tensor, Video(tensor), torch.nn.Parameter(tensor, requires_grad=False), tensor.flip(2).flip(2)):
        assert np.array_equal(array_reader(kind, 5).frames_at(range(30)).frames_THWC, FRAMES)


@pytest.fixture(
    params=[
        *("file", pytest.param("torchcodec", marks=needs_torchcodec), *TURNS, "folder of jpg", "folder of png"),
        *("array", "window of a read-only array"),
    ]
)
def reader(request, make_video, tmp_path):
    """A video of at least three frames, of each kind."""
    kind = request.param
    if kind in TURNS:
        return open_video(turned(make_video("upright.mp4", num_frames=3), kind, tmp_path / "turned.mp4"))
    if kind in ("file", "torchcodec"):
        return open_video(make_video("window.mp4", g="12", bf="2"), reader="pyav" if kind == "file" else kind)
    if kind.startswith("folder"):
        for number in range(3):
            Image.fromarray(picture(number)).save(tmp_path / f"{number}.{kind[-3:]}")
        return open_video(tmp_path)
    if kind == "array":
        return array_reader(FRAMES[:, ::-1], 10)
    return window(array_reader(np.broadcast_to(FRAMES[:1], FRAMES.shape), 10), first=3, last=7)


def test_frames_are_arrays_that_pytorch_takes_without_a_copy_or_a_warning(reader):
    with reader, warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that must not be written to
        batch = reader.frames_at([2, 0, 2])
        found = [frame for _, frame in reader]
        found += [batch.frames_THWC, reader.frames_at([1]).frames_THWC]
        found += [reader.transformed_at(indices, lambda frames: frames) for indices in ([0], [0, 1, 2], [2, 1])]
        for frames in found:
            assert type(frames) is np.ndarray and frames.dtype == np.uint8
            assert torch.from_numpy(frames).data_ptr() == frames.ctypes.data
        for seconds in (reader.pts_seconds, batch.pts_seconds):
            assert type(seconds) is np.ndarray and seconds.dtype == np.float64


@pytest.mark.parametrize(
    "frames",
    [
        *(FRAMES.astype(np.float32), FRAMES[0], FRAMES[..., :1], FRAMES[:0], np.moveaxis(FRAMES, -1, 1)),
        *(torch.zeros(2, 4, 4, 3), torch.zeros(2, 4, 4, 3, dtype=torch.bfloat16), [FRAMES[0]], "clip.mp4"),
    ],
    ids=["floats", "one frame", "grey", "none", "channels first", "tensor", "bfloat16", "list", "path"],
)
def test_what_is_no_array_of_frames_is_refused(frames):
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
        return frames_THWC.sum(axis=3)[:, :5]

    with array_reader(FRAMES, 10) as reader, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(reader_module, "STACK_BYTES", frames_a_stack * FRAMES[0].nbytes + 1)
        rows = reader.transformed_at(indices, transform)
        stacked = reader.frames_at(indices).frames_THWC
    assert np.array_equal(rows, stacked.sum(axis=3)[:, :5])
    assert seen == FRAMES[sorted(set(indices)), 1, 3].tolist()  # each frame once


def test_frames_are_copies_of_the_array():
    array = FRAMES.copy()
    with array_reader(array, 10) as reader:
        reader.frames_at([3]).frames_THWC[:] = 0
        reader.transformed_at([4], lambda frames: frames)[:] = 0
        next(iter(reader))[1][:] = 0
    np.testing.assert_array_equal(array, FRAMES)


@given(first=st.integers(0, 29), length=st.integers(1, 30), index=st.integers(0, 29))
def test_a_window_is_a_slice(first, length, index):
    last = min(30, first + length)
    part = window(array_reader(FRAMES, 10), first=first, last=last)
    assert part.num_frames == last - first
    index %= part.num_frames
    batch = part.frames_at([index])
    np.testing.assert_array_equal(batch.frames_THWC[0], FRAMES[first + index])
    assert batch.pts_seconds[0] == pytest.approx((first + index) / 10)
    assert part.info.duration_seconds == pytest.approx((last - first) / 10)
    np.testing.assert_array_equal([frame for _, frame in part], FRAMES[first:last])


def test_a_window_of_a_window_of_a_file(make_video):
    path = make_video("window.mp4", g="12", bf="2")
    with open_video(path) as whole:
        expected = whole.frames_at(range(25, 35))
    with window(window(open_video(path), first=20, last=50), first=5, last=15) as part:
        assert part.info.num_frames == 10
        assert np.array_equal(part.frames_at(range(10)).frames_THWC, expected.frames_THWC)
        assert np.array_equal(part.pts_seconds, expected.pts_seconds)
        assert np.array_equal([frame for _, frame in part], expected.frames_THWC)
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
