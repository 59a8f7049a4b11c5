import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsn.errors import VideoError
from lsn.video.transforms import (
    TrainTransform,
    multi_scale_box,
)

SCALES = (1.0, 0.875, 0.75, 0.66)


def noise(num_frames: int = 4, height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, 3, height, width), dtype=torch.uint8, generator=generator)


def still(num_frames: int = 4, height: int = 48, width: int = 64) -> torch.Tensor:
    return noise(1, height, width).repeat(num_frames, 1, 1, 1)


def heavy(**overrides: object) -> TrainTransform:
    options: dict[str, object] = {
        "size": 32,
        "scales": SCALES,
        "labels": ["left", "right", "spin clockwise", "jump"],
        "color_jitter": 0.4,
        "rand_augment_layers": 2,
        "rand_augment_magnitude": 15,
    }
    return TrainTransform(**(options | overrides))  # type: ignore[arg-type]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10_000))
def test_multi_scale_boxes_lie_inside_and_pair_near_scales(height: int, width: int, seed: int) -> None:
    box = multi_scale_box(height, width, scales=SCALES, rng=random.Random(seed))
    assert box.top >= 0 and box.left >= 0
    assert box.top + box.height <= height and box.left + box.width <= width
    sides = [max(1, int(min(height, width) * scale)) for scale in SCALES]
    near = {(a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) <= 1}
    assert (box.height, box.width) in near


def test_multi_scale_boxes_reach_all_pairs_and_places() -> None:
    rng = random.Random(0)
    boxes = [multi_scale_box(200, 300, scales=SCALES, rng=rng) for _ in range(5000)]
    shapes = Counter((box.height, box.width) for box in boxes)
    assert len(shapes) == 10
    assert max(shapes.values()) < 1.5 * min(shapes.values())
    largest = {(box.top, box.left) for box in boxes if (box.height, box.width) == (150, 150)}
    assert {(0, 0), (0, 150), (50, 0), (50, 150), (25, 75)} <= largest
    assert len(largest) == 13


def test_one_scale_is_the_whole_short_side() -> None:
    box = multi_scale_box(50, 90, scales=[1.0], rng=random.Random(3))
    assert (box.height, box.width, box.top) == (50, 50, 0)


@given(st.integers(0, 2000))
def test_all_frames_of_a_clip_get_the_same(seed: int) -> None:
    clip, _ = heavy()(still(), 3, random.Random(seed))
    assert clip.shape == (4, 3, 32, 32)
    assert torch.equal(clip, clip[:1].expand_as(clip))


def test_results_depend_on_the_given_generator_alone() -> None:
    frames, results = noise(), []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        random.seed(global_seed)
        state = torch.get_rng_state()
        results.append(heavy()(frames, 0, random.Random("7/3/1")))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]
    assert not torch.equal(results[0][0], heavy()(frames, 0, random.Random("7/3/2"))[0])


def test_the_input_is_left_alone() -> None:
    frames = noise()
    before = frames.clone()
    for seed in range(30):
        heavy()(frames, 0, random.Random(seed))
    assert torch.equal(frames, before)


def test_a_flip_mirrors_the_frames_and_swaps_the_label() -> None:
    frames = noise(2, 32, 32)
    transform = heavy(scales=[1.0], color_jitter=0.0, rand_augment_layers=0)
    seen = Counter()
    for seed in range(400):
        clip, label = transform(frames, 0, random.Random(seed))
        expected = frames if label == 0 else frames.flip(-1)
        assert torch.equal(clip, expected)
        seen[label] += 1
    assert set(seen) == {0, 1} and 150 < seen[0] < 250


@pytest.mark.parametrize(("label", "horizontal_flip"), [(2, True), (0, False), (3, False)])
def test_what_must_not_be_flipped_never_is(label: int, horizontal_flip: bool) -> None:
    frames = noise(1, 32, 32)
    transform = heavy(scales=[1.0], color_jitter=0.0, rand_augment_layers=0, horizontal_flip=horizontal_flip)
    for seed in range(50):
        clip, returned = transform(frames, label, random.Random(seed))
        assert returned == label
        assert torch.equal(clip, frames)


def test_a_class_without_sides_is_flipped_and_keeps_its_label() -> None:
    transform = heavy(scales=[1.0], color_jitter=0.0, rand_augment_layers=0)
    frames = noise(1, 32, 32)
    clips = [transform(frames, 3, random.Random(seed)) for seed in range(50)]
    assert {label for _, label in clips} == {3}
    assert len({tuple(clip.flatten()[:8].tolist()) for clip, _ in clips}) == 2


@pytest.mark.parametrize(
    "frames",
    [torch.zeros(4, 48, 64, 3, dtype=torch.uint8), torch.zeros(4, 3, 48, 64), torch.zeros(3, 48, 64).byte()],
    ids=["THWC", "float", "one frame"],
)
def test_other_tensors_are_refused(frames: torch.Tensor) -> None:
    with pytest.raises(VideoError, match=r"expected torch.uint8 \(T, 3, H, W\): permute"):
        heavy()(frames, 0, random.Random(0))
