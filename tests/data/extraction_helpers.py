"""Small videos of known pictures, and their extraction."""

import torch

from lsn.data import read_manifest
from lsn.data.frames.extraction import ExtractionSettings, extract_manifests


def clip_of(seed, num_frames=5, height=36, width=48):
    """Smooth pictures that change from frame to frame, so that JPEG keeps them and no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(num_frames, 3, 3, 4, generator=generator)
    large = torch.nn.functional.interpolate(small, (height, width), mode="bilinear", align_corners=True)
    return (255 * large.permute(0, 2, 3, 1)).byte().numpy()


def extract(videos, out, **kwargs):
    manifests = [read_manifest(videos / f"{split}.csv") for split in ("train", "val")]
    return extract_manifests(manifests, out, settings=ExtractionSettings(**kwargs))
