from pathlib import Path

import pytest
from extraction_helpers import clip_of
from timeline_helpers import NAMES, NUM_FRAMES, RATE
from video_files import encode_pictures

from lsn.video import write_video


@pytest.fixture
def videos(tmp_path):
    """train.csv with three files, one of them in two windows, and val.csv with one that shares its name."""
    for seed, name in enumerate(("a/one.mp4", "a/two.mp4", "b/one.mp4", "b/three.mp4")):
        write_video(tmp_path / "videos" / name, clip_of(seed, num_frames=5 + seed), fps=10)
    (tmp_path / "videos/train.csv").write_text(
        "path,label,start_seconds,end_seconds,scene\n"
        "a/one.mp4,x,,,kitchen\na/two.mp4,x,0,0.3,hall\na/two.mp4,y,0.3,,hall\nb/one.mp4,y,,,\n"
    )
    (tmp_path / "videos/val.csv").write_text("path,label\nb/three.mp4,x\n")
    return tmp_path / "videos"


@pytest.fixture(scope="session")
def numbered_videos(tmp_path_factory) -> Path:
    """Three files of 240 frames at 29.97 frames per second."""
    folder = tmp_path_factory.mktemp("timelines")
    for name in NAMES:
        encode_pictures(folder / f"{name}.mp4", num_frames=NUM_FRAMES, rate=RATE)
    return folder
