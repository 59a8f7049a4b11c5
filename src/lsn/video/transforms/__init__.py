"""From decoded frames to what a network sees: resizing, cropping and augmenting whole clips."""

from lsn.video.transforms.crops import Box, crop_boxes, multi_scale_box, resize_short_side
from lsn.video.transforms.evaluation import EvalTransform
from lsn.video.transforms.mirror import mirror_labels
from lsn.video.transforms.training import TrainTransform

__all__ = [
    "Box",
    "EvalTransform",
    "TrainTransform",
    "crop_boxes",
    "mirror_labels",
    "multi_scale_box",
    "resize_short_side",
]
