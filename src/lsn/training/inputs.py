"""What all trainings do to the frames that they read."""

from __future__ import annotations

from collections.abc import Sequence

from lsn.config import InputConfig
from lsn.models import Recognizer
from lsn.video.transforms import TrainTransform


def train_transform(config: InputConfig, labels: Sequence[str], model: Recognizer) -> TrainTransform:
    """Crop, flip and augmentation as a run has them, for the classes of a network."""
    return TrainTransform(
        size=config.size,
        scales=config.scales,
        labels=labels,
        color_jitter=config.color_jitter,
        rand_augment_layers=config.rand_augment_layers,
        rand_augment_magnitude=config.rand_augment_magnitude,
        fill=[round(255 * channel) for channel in model.mean],
        horizontal_flip=config.horizontal_flip,
    )
