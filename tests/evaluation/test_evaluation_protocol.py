import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lsn.video.decoding.reader as reader_module
from lsn.config import EvaluationConfig, InputConfig, from_mapping, to_mapping
from lsn.errors import ConfigError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.video import array_reader, window
from lsn.video.eval_transform import EvalTransform

PROTOCOL = EvaluationProtocol(
    num_frames=4,
    size=8,
    short_side=8,
    sampling="segments",
    frame_stride=2,
    num_clips=1,
    num_crops=1,
    average="logits",
    batch_size=8,
)


def numbered_video(num_frames):
    """Frame i has the value i everywhere."""
    frames = torch.arange(num_frames, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 8, 16, 3).contiguous()
    return array_reader(frames, fps=10)


def frames_seen(protocol, num_frames):
    views, label = protocol(numbered_video(num_frames), 3, random.Random(0))
    assert label == 3
    assert views.shape == (protocol.num_views, protocol.num_frames, 3, protocol.size, protocol.size)
    assert views.dtype == torch.uint8
    assert torch.equal(views, views[..., :1, :1, :1].expand_as(views))
    return views[..., 0, 0, 0].tolist()


def test_one_clip_is_the_centres_of_the_segments():
    assert frames_seen(PROTOCOL, 40) == [[5, 15, 25, 35]]


def test_two_clips_are_centres_and_starts():
    assert frames_seen(replace(PROTOCOL, num_clips=2), 40) == [[5, 15, 25, 35], [0, 10, 20, 30]]


def test_the_crops_of_a_clip_stand_side_by_side():
    seen = frames_seen(replace(PROTOCOL, num_clips=2, num_crops=3), 40)
    assert seen == [[5, 15, 25, 35]] * 3 + [[0, 10, 20, 30]] * 3


def test_dense_clips_are_neighbours_spread_over_the_video():
    seen = frames_seen(replace(PROTOCOL, sampling="dense", num_clips=3), 41)
    assert seen == [[0, 2, 4, 6], [17, 19, 21, 23], [34, 36, 38, 40]]


def test_timed_clips_follow_the_clock():
    protocol = replace(PROTOCOL, sampling="timed", fps=5.0, num_clips=3)
    assert frames_seen(protocol, 41) == [[0, 2, 4, 6], [17, 19, 21, 23], [35, 37, 39, 40]]  # the video is 4.1 s
    assert frames_seen(replace(protocol, num_clips=1), 41) == [[17, 19, 21, 23]]
    assert frames_seen(replace(protocol, num_clips=1, fps=2.5), 6) == [[0, 4, 5, 5]]


def test_a_window_of_a_video_is_timed_from_its_own_start():
    part = window(numbered_video(60), first=20, last=30)
    seen, _ = replace(PROTOCOL, sampling="timed", fps=5.0)(part, 0, random.Random(0))
    assert seen[0, :, 0, 0, 0].tolist() == [22, 24, 26, 28]


def test_a_video_shorter_than_the_clip():
    assert frames_seen(PROTOCOL, 2) == [[0, 0, 1, 1]]
    assert frames_seen(PROTOCOL, 1) == [[0, 0, 0, 0]]


def test_three_crops_are_left_centre_and_right():
    frames = torch.arange(16, dtype=torch.uint8).view(1, 1, 16, 1).expand(4, 8, 16, 3).contiguous()
    views, _ = replace(PROTOCOL, num_crops=3)(array_reader(frames, fps=10), 0, random.Random(0))
    assert views[:, 0, 0, 0, 0].tolist() == [0, 4, 8]


@pytest.mark.parametrize("stack_bytes", [1, 3 * 40 * 70 * 3, 1 << 30])
@pytest.mark.parametrize("size", [(40, 70), (70, 40), (33, 33), (9, 200)])
@pytest.mark.parametrize(("num_clips", "num_crops", "num_frames"), [(1, 1, 30), (3, 3, 30), (2, 3, 2)])
def test_views_are_those_of_the_stacked_frames(monkeypatch, stack_bytes, size, num_clips, num_crops, num_frames):
    monkeypatch.setattr(reader_module, "STACK_BYTES", stack_bytes)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (num_frames, *size, 3), dtype=torch.uint8, generator=generator)
    protocol = replace(PROTOCOL, size=24, short_side=30, num_clips=num_clips, num_crops=num_crops, sampling="dense")
    reader = array_reader(frames.numpy(), fps=10)
    batch = reader.frames_at(protocol.indices(reader))
    transform = EvalTransform(size=24, short_side=30, num_crops=num_crops)
    clips = np.split(batch.frames_THWC, num_clips)
    views = protocol.read(reader)
    assert np.array_equal(views.views_VTCHW, np.concatenate([transform(clip_THWC) for clip_THWC in clips]))
    assert np.array_equal(views.pts_seconds, batch.pts_seconds)
    assert views.transform_seconds > 0


def test_nothing_is_random():
    reader = numbered_video(23)
    protocol = replace(PROTOCOL, num_clips=2)
    first, _ = protocol(reader, 0, random.Random(1))
    assert torch.equal(first, protocol(reader, 0, random.Random(2))[0])


@given(
    seed=st.integers(0, 10**6),
    num_videos=st.integers(1, 4),
    num_views=st.integers(1, 6),
    average=st.sampled_from(["logits", "probabilities"]),
)
def test_views_are_averaged_as_the_protocol_says(seed, num_videos, num_views, average):
    logits = 5 * torch.randn(num_videos, num_views, 7, generator=torch.Generator().manual_seed(seed))
    answer = torch.from_numpy(replace(PROTOCOL, average=average).combine(logits.numpy())).exp()
    for video, expected in zip(answer, logits.double(), strict=True):
        if average == "logits":
            expected = torch.softmax(sum(expected) / num_views, dim=0)
        else:
            expected = sum(torch.softmax(view, dim=0) for view in expected) / num_views
        assert torch.allclose(video.double(), expected, atol=1e-6)


def test_the_averages_differ_where_views_disagree():
    logits = np.array([[[10.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    by_logits, by_probabilities = (replace(PROTOCOL, average=a).combine(logits) for a in ("logits", "probabilities"))
    assert not np.allclose(by_logits, by_probabilities, atol=0.1)


def test_of_takes_the_frames_from_the_model(model):
    protocol = EvaluationProtocol.of(
        model,
        InputConfig(size=64, short_side=80, sampling="dense", fps=6.0),
        EvaluationConfig(num_clips=2, num_crops=3),
    )
    assert protocol.fps == 6.0
    assert protocol.num_frames == model.num_frames
    assert (protocol.size, protocol.short_side, protocol.sampling) == (64, 80, "dense")
    assert protocol.num_views == 6


def test_it_reads_back_from_plain_data():
    protocol = replace(PROTOCOL, num_clips=2, average="probabilities", sampling="timed", fps=12.5)
    assert from_mapping(EvaluationProtocol, to_mapping(protocol), where="here") == protocol


def test_an_evaluation_from_before_there_was_a_rate_reads_back():
    saved = to_mapping(PROTOCOL)
    del saved["fps"]
    assert from_mapping(EvaluationProtocol, saved, where="here") == PROTOCOL


def test_the_description_names_what_changes_the_numbers():
    assert PROTOCOL.describe() == "4x1x1 frames x clips x crops, 8 px of 8, segments"
    many = replace(PROTOCOL, num_clips=2, num_crops=3, sampling="dense", frame_stride=5, average="probabilities")
    assert many.describe() == "4x2x3 frames x clips x crops, 8 px of 8, dense, stride 5, mean of probabilities"
    timed = replace(PROTOCOL, sampling="timed", fps=7.5)
    assert timed.describe() == "4x1x1 frames x clips x crops, 8 px of 8, timed, 7.5 fps"


def test_views_of_a_video_that_would_fill_the_memory_are_refused():
    protocol = replace(PROTOCOL, num_clips=100, num_crops=3, num_frames=16, size=224)  # 0.7 GB
    with pytest.raises(ConfigError, match=r"200 clips of 16 frames .* take 1.4 GB .* limit is 1.1 GB: .* 148 clips"):
        replace(protocol, num_clips=200)
    replace(protocol, num_clips=148)
