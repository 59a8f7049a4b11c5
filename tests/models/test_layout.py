"""The layout of clips, which must change where values lie and nothing else."""

import pytest
import torch

from lsn.models.layout import frames_channels_last


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
