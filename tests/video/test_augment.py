import random

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from lsn.video.transforms.augment import (
    _OPERATIONS,
    color_jitter,
    rand_augment,
)

GREY = [128, 128, 128]


@pytest.fixture
def image() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(20, 230, (1, 3, 6, 8), dtype=torch.uint8, generator=generator)
    return F.resize(small, [48, 64])


def one_layer(frames: torch.Tensor, operation: str, magnitude: int, sign: int) -> torch.Tensor:
    return _OPERATIONS[operation](frames, sign * magnitude / 30, GREY)


@pytest.mark.parametrize(
    ("operation", "unchanged_at_zero"),
    [(name, name not in {"autocontrast", "equalize"}) for name in _OPERATIONS],
)
def test_magnitude_zero_changes_nothing_but_statistics(
    image: torch.Tensor, operation: str, unchanged_at_zero: bool
) -> None:
    assert torch.equal(one_layer(image, operation, 0, 1), image) == unchanged_at_zero


@pytest.mark.parametrize(
    ("operation", "by_hand"),
    [
        ("brightness", lambda x: (x.float() * 1.9).clamp(max=255).byte()),
        ("solarize", lambda x: 255 - x),
        ("posterize", lambda x: x & 0xF0),
        ("translate_x", lambda x: _moved_right(x, 29)),  # int(64 * 150 / 331)
        ("rotate", lambda x: F.rotate(x, -30, interpolation=F.InterpolationMode.BILINEAR, fill=GREY)),
    ],
)
def test_full_magnitude_is_the_end_of_the_published_range(image: torch.Tensor, operation: str, by_hand) -> None:
    difference = one_layer(image, operation, 30, 1).int() - by_hand(image).int()
    assert difference.abs().max() <= 1


def _moved_right(image: torch.Tensor, columns: int) -> torch.Tensor:
    moved = torch.full_like(image, 128)
    moved[..., columns:] = image[..., :-columns]
    return moved


@pytest.mark.parametrize("operation", ["contrast", "autocontrast", "equalize"])
def test_statistics_are_of_the_clip(image: torch.Tensor, operation: str) -> None:
    """A value that occurs in a dark and in a bright frame is mapped to one value in both."""
    dark, bright = image // 2, image // 2 + 110
    dark[..., 0, 0], bright[..., 0, 0] = 100, 100
    together = one_layer(torch.cat([dark, bright]), operation, 20, 1)
    assert torch.equal(together[0, :, 0, 0], together[1, :, 0, 0])
    alone = torch.cat([one_layer(frame, operation, 20, 1) for frame in (dark, bright)])
    assert not torch.equal(alone[0, :, 0, 0], alone[1, :, 0, 0])  # what frame-wise statistics would have done


def test_layers_are_drawn_from_all_operations(image: torch.Tensor) -> None:
    rng = random.Random(0)
    outcomes = {
        tuple(rand_augment(image, num_layers=1, magnitude=25, fill=GREY, rng=rng).flatten().tolist())
        for _ in range(300)
    }
    signed = 9  # shears, translations, rotation, brightness, saturation, contrast, sharpness
    assert len(outcomes) == 2 * signed + (len(_OPERATIONS) - signed)


def test_colour_jitter_keeps_within_its_factors() -> None:
    grey = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)  # only brightness changes a flat grey
    values = [int(color_jitter(grey, strength=0.3, rng=random.Random(seed))[0, 0, 0, 0]) for seed in range(200)]
    assert 67 <= min(values) < 75 and 125 < max(values) <= 130  # each step rounds down


def test_colour_jitter_of_more_than_one_does_not_invert() -> None:
    grey = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    results = [color_jitter(grey, strength=3.0, rng=random.Random(seed)) for seed in range(50)]
    assert all(result.dtype == torch.uint8 and result.shape == grey.shape for result in results)
