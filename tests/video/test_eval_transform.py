"""What a network sees in tests and on streams, against torchvision and against Pillow's resize of whole frames."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as F

from lsn.errors import VideoError
from lsn.video.eval_transform import EvalTransform, crop_boxes, short_side_size


def noise(num_frames: int, height: int, width: int) -> np.ndarray:
    """Smooth, with a little noise on it, as videos are."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (num_frames, 3, 6, 8), dtype=torch.uint8, generator=generator)
    smooth = F.resize(coarse, [height, width], antialias=True).int()
    frames = smooth + torch.randint(-12, 13, smooth.shape, generator=generator)
    return frames.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(60, 80, (30, 40)), (80, 60, (40, 30)), (30, 30, (30, 30)), (20, 41, (30, 61))]
)
def test_the_short_side_keeps_the_aspect_ratio(height: int, width: int, expected: tuple[int, int]) -> None:
    assert short_side_size(height, width, short_side=30) == expected


def test_centre_and_three_crops() -> None:
    assert crop_boxes(10, 30, size=8, num_crops=1) == [(1, 11, 8, 8)]
    assert crop_boxes(10, 30, size=8, num_crops=3) == [(1, 0, 8, 8), (1, 11, 8, 8), (1, 22, 8, 8)]
    assert crop_boxes(30, 10, size=8, num_crops=3) == [(0, 1, 8, 8), (11, 1, 8, 8), (22, 1, 8, 8)]


@pytest.mark.parametrize("num_crops", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "short_side", "size"),
    [
        (240, 320, 256, 224),
        (240, 320, 128, 112),
        (320, 240, 72, 72),
        (37, 91, 40, 32),
        (50, 50, 50, 50),
        (720, 1280, 72, 64),
    ],
)
def test_views_are_those_of_torchvision_and_of_pillow(
    height: int, width: int, short_side: int, size: int, num_crops: int
) -> None:
    frames_THWC = noise(2, height, width)
    views_VTCHW = EvalTransform(size=size, short_side=short_side, num_crops=num_crops)(frames_THWC)
    assert views_VTCHW.shape == (num_crops, 2, 3, size, size) and views_VTCHW.dtype == np.uint8

    tensor = F.resize(torch.from_numpy(frames_THWC).permute(0, 3, 1, 2), [short_side], antialias=True)
    resized = tensor.permute(0, 2, 3, 1).numpy()
    pictures = [
        Image.fromarray(frame).resize(resized.shape[2:0:-1], Image.Resampling.BILINEAR) for frame in frames_THWC
    ]
    for whole in (resized, np.stack([np.asarray(picture) for picture in pictures])):
        boxes = crop_boxes(*whole.shape[1:3], size=size, num_crops=num_crops)
        expected = np.stack([whole[:, top : top + size, left : left + size] for top, left, _, _ in boxes])
        difference = np.abs(expected.transpose(0, 1, 4, 2, 3).astype(int) - views_VTCHW)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.03


def test_it_cuts_the_promised_pixels() -> None:
    ramp = np.zeros((1, 24, 44, 3), np.uint8)  # red is the column, green the row
    ramp[..., 0], ramp[..., 1] = np.arange(44), np.arange(24)[:, None]
    views_VTCHW = EvalTransform(size=20, short_side=24, num_crops=3)(ramp)
    for view_TCHW, left in zip(views_VTCHW, (0, 12, 24), strict=True):
        assert view_TCHW[0, 0, 0].tolist() == list(range(left, left + 20))
        assert view_TCHW[0, 1, :, 0].tolist() == list(range(2, 22))


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 254
    shrunk = EvalTransform(size=16, short_side=16, num_crops=1)(stripes)[..., 2:-2]
    assert np.abs(shrunk.astype(int) - 127).max() <= 2


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 20), st.sampled_from([1, 3]))
def test_frames_of_any_size(height: int, width: int, size: int, more: int, num_crops: int) -> None:
    grey = np.full((1, height, width, 3), 77, np.uint8)
    views_VTCHW = EvalTransform(size=size, short_side=size + more, num_crops=num_crops)(grey)
    assert views_VTCHW.shape == (num_crops, 1, 3, size, size)
    assert (views_VTCHW == 77).all()


@pytest.mark.parametrize(
    "frames",
    [np.zeros((4, 3, 48, 64), np.uint8), np.zeros((4, 48, 64, 3), np.float32), np.zeros((48, 64, 3), np.uint8)],
    ids=["TCHW", "float", "one frame"],
)
def test_other_arrays_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(VideoError, match=r"expected uint8 \(T, H, W, 3\)"):
        EvalTransform(size=8, short_side=8, num_crops=1)(frames)
