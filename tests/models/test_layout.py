"""The layout of clips, which must change where values lie and nothing else; and their range."""

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from lsn.models.layout import frames_channels_last, in_layout, layout_of, normalize_frames


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (1, 1, 3, 2, 2)])
def test_frames_become_channels_last_without_a_change(shape):
    clip_BTCHW = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    same = frames_channels_last(clip_BTCHW)
    assert torch.equal(same, clip_BTCHW)
    assert same.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_no_clips_stay_no_clips():
    assert frames_channels_last(torch.zeros(0, 3, 4, 5, 6)).shape == (0, 3, 4, 5, 6)


def test_a_clip_that_lies_so_already_is_not_copied():
    clip_BTCHW = frames_channels_last(torch.rand(2, 3, 4, 5, 6))
    assert frames_channels_last(clip_BTCHW).data_ptr() == clip_BTCHW.data_ptr()
    assert clip_BTCHW.flatten(0, 1).data_ptr() == clip_BTCHW.data_ptr()


@pytest.mark.parametrize("lies", [torch.Tensor.contiguous, frames_channels_last])
def test_normalised_frames_are_the_published_formula_and_the_bytes_stay(lies):
    clip_BTCHW = lies(torch.randint(0, 256, (2, 3, 3, 5, 7), dtype=torch.uint8))
    before, mean, std = clip_BTCHW.clone(), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    got = normalize_frames(clip_BTCHW, 255 * torch.tensor(mean), 255 * torch.tensor(std))
    expected = F.normalize(F.to_dtype(clip_BTCHW, torch.float32, scale=True), mean, std)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert got.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(clip_BTCHW, before)


LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("after", LAYOUTS)
@pytest.mark.parametrize("before", LAYOUTS)
def test_values_change_their_layout_and_the_gradient_changes_back(before, after):
    x_NCHW = torch.randn(2, 3, 4, 5).contiguous(memory_format=before).requires_grad_()
    y_NCHW = in_layout(x_NCHW, after)
    assert torch.equal(y_NCHW, x_NCHW)
    assert (layout_of(x_NCHW), layout_of(y_NCHW)) == (before, after)
    factor_NCHW = torch.randn(2, 3, 4, 5).contiguous(memory_format=after)
    (gradient,) = torch.autograd.grad((y_NCHW * factor_NCHW).sum(), x_NCHW)
    assert torch.equal(gradient, factor_NCHW)
    assert layout_of(gradient) == before
