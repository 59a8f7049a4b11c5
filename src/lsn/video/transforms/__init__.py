"""From decoded frames to training clips: cropping and augmenting, the same in all frames of a clip."""

from lsn.video.transforms.crops import multi_scale_box
from lsn.video.transforms.mirror import mirror_labels
from lsn.video.transforms.training import TrainTransform

__all__ = ["TrainTransform", "mirror_labels", "multi_scale_box"]
