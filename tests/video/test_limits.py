"""Frames of any size: memory that does not grow with their number, and a limit on their pixels."""

import io
import subprocess
import sys
from pathlib import Path

import av
import pytest
from http_server import Server, file_answer
from PIL import Image
from video_files import KINDS, picture

from lsn.errors import ConfigError, VideoError
from lsn.video import open_video
from lsn.video.live.opening import open_live


def message_of(source) -> str:
    with pytest.raises(VideoError) as caught, open_video(source) as reader:
        reader.frames_at(range(reader.num_frames))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def limit(monkeypatch):
    return lambda pixels: monkeypatch.setenv("LSN_MAX_PIXELS", str(pixels))


@pytest.mark.parametrize(
    "name", ["gop.mp4", "gop.mkv", "flash.flv", "xvid.avi", "transport.ts", "bare.h264", "vp9.webm"]
)
def test_larger_frames_than_the_limit_are_refused(make_video, limit, name):
    path = make_video(name, **KINDS[name])
    limit(64 * 48)
    with open_video(path) as reader:
        reader.frames_at([0, 59])
    limit(64 * 48 - 1)
    for source in (path, path.read_bytes()):
        message = message_of(source)
        assert "more than 3,071 pixels" in message and "LSN_MAX_PIXELS" in message


def test_the_message_says_what_to_set(make_video, limit):
    limit(1000)
    message = message_of(make_video("gop.mp4", **KINDS["gop.mp4"]))
    assert "frames of 64x48 have more than 1,000 pixels" in message
    assert message.endswith("set the environment variable LSN_MAX_PIXELS=3072")


@pytest.mark.parametrize("value", ["0", "-5", "much", "1e9", "2147483648", "9" * 5000])
def test_a_limit_that_is_none(make_video, limit, value):
    limit(value)
    with pytest.raises(ConfigError, match=r"LSN_MAX_PIXELS is '.{1,40}'; expected a number of pixels"):
        open_video(make_video("gop.mp4", **KINDS["gop.mp4"]))


def test_frames_that_grow_beyond_the_limit(make_video, tmp_path, limit):
    path = tmp_path / "grows.h264"
    parts = [make_video(f"{width}.h264", size=(width, 48), num_frames=10) for width in (64, 96)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    limit(64 * 48)
    assert "frames of 96x48 have more than 3,072 pixels" in message_of(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_folders_of_frames_have_the_limit_too(tmp_path, limit, suffix):
    for number, width in enumerate((32, 32, 40)):
        Image.fromarray(picture(number, width, 30)).save(tmp_path / f"{number}{suffix}")
    limit(32 * 30)
    assert f"2{suffix}: frames of 40x30 have more than 960 pixels" in message_of(tmp_path)
    limit(32 * 30 - 1)
    assert f"0{suffix}: frames of 32x30 have more than 959 pixels" in message_of(tmp_path)


def test_an_image_that_pillow_refuses(tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "0.png")
    assert "0.png: too large for Pillow" in message_of(tmp_path)


def test_streams_have_the_limit_too(make_video, limit):
    path = make_video("transport.ts", **KINDS["transport.ts"])
    limit(64 * 48 - 1)
    with Server({"/": file_answer(path)}) as server, pytest.raises(VideoError, match="more than 3,071 pixels"):
        open_live(f"{server.url}/")


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), 90).save(file, "JPEG")
    return file.getvalue()


READ = """
import random, resource, sys
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.training.clips.views import TrainingViews
from lsn.video import open_video
from lsn.video.clip_sampler import DenseSampler
from lsn.video.transforms import TrainTransform

views = TrainingViews(DenseSampler(12, 1), TrainTransform(size=224, scales=(1.0, 0.75), labels=("a",)))
if sys.argv[2] == "predict":
    views = EvaluationProtocol(12, 224, 256, "dense", 1, 1, 3, "logits", 8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_video(sys.argv[1]) as reader:
    views(reader, 0, random.Random(0))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def growth_mb(source: Path, what: str) -> float:
    """By how much the memory of a process grows that reads a clip of twelve frames."""
    command = [sys.executable, "-c", READ, source, what]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stderr
    return int(answer.stdout) / 1024


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "what"), [("folder", "predict"), ("video", "train")])
def test_memory_does_not_grow_with_the_number_of_large_frames(tmp_path, kind, what):
    """Stacked, twelve frames of 6000x6000 take 1.3 GB."""
    data, source = jpeg(6000, 6000), tmp_path / "large"
    if kind == "folder":
        source.mkdir()
        for number in range(12):
            (source / f"{number}.jpg").write_bytes(data)
    else:
        source = tmp_path / "large.mjpeg"
        source.write_bytes(data * 12)
    assert growth_mb(source, what) < 675


@pytest.mark.slow
def test_a_huge_motion_jpeg_is_refused_before_it_takes_memory(tmp_path):
    """12 MB that would be 10 GB as a clip; its container does not tell the size."""
    path = tmp_path / "huge.mjpeg"
    path.write_bytes(jpeg(16000, 16000) * 4)
    command = [sys.executable, "-c", READ.replace("views(reader", "0 and views(reader"), path, "predict"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "a frame has more than 100,000,000 pixels (LSN_MAX_PIXELS)" in answer.stderr
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).width == 16000
