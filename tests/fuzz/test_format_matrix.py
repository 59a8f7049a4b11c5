"""Every sound file is read: as many frames as ffprobe counts, with the pixels of the ffmpeg command.

Codecs that define their pixels to the bit must agree to the bit, in order and one by one. Others (MPEG-1, 2 and 4,
JPEG, ProRes, DNxHR, ...) leave the rounding of their transform open, and PyAV's FFmpeg is newer than the system's.
"""

import shutil

import numpy as np
import pytest
from matrix_files import CASES, Case, count_of_ffprobe, pixels_of_ffmpeg

from lsn.video import open_video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="no ffmpeg command"),
]


def test_the_matrix_is_large():
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frames_are_those_of_ffmpeg(tmp_path, case: Case):
    path = case.write(tmp_path)
    with open_video(path) as reader:
        assert reader.num_frames == count_of_ffprobe(path)
        frames = reader.frames_at(range(reader.num_frames)).frames_THWC
        expected = pixels_of_ffmpeg(path, reader.info.height, reader.info.width)
        assert frames.shape == expected.shape
        difference = np.abs(frames.astype(np.int16) - expected)
        assert difference.max() <= case.tolerance
        assert difference.mean() <= case.tolerance / 10
        for index in (reader.num_frames - 1, 0, reader.num_frames // 2):
            np.testing.assert_array_equal(reader.frames_at([index]).frames_THWC[0], frames[index])
        assert (np.diff(reader.pts_seconds) > 0).all()
    with open_video(path.read_bytes()) as reader:
        assert reader.num_frames == len(frames)
