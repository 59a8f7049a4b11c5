"""Reading, sampling and writing video.

`open_video` gives a `VideoReader` for a file or a folder of images; `clip_sampler` chooses the frames
of a clip; `lsn.video.transforms` turns them into the tensor that a network sees.
"""

from lsn.video.clip_sampler import ClipSampler, Sampling, clip_sampler
from lsn.video.decoding.frames_reader import IMAGE_SUFFIXES
from lsn.video.decoding.opening import open_video
from lsn.video.decoding.reader import FrameBatch, VideoInfo, VideoReader, array_reader, window
from lsn.video.sampling import (
    dense_indices_eval,
    dense_indices_train,
    segment_indices_eval,
    segment_indices_train,
    timed_indices_eval,
    timed_indices_train,
)
from lsn.video.writing.video_writer import VideoWriter, write_video

__all__ = [
    "IMAGE_SUFFIXES",
    "ClipSampler",
    "FrameBatch",
    "Sampling",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "array_reader",
    "clip_sampler",
    "dense_indices_eval",
    "dense_indices_train",
    "open_video",
    "segment_indices_eval",
    "segment_indices_train",
    "timed_indices_eval",
    "timed_indices_train",
    "window",
    "write_video",
]
