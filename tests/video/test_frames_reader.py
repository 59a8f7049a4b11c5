"""Folders of images. torchvision is the other decoder."""

import os
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image
from video_files import picture

from lsn.errors import ConfigError, VideoError
from lsn.video import open_video, window


def fill(folder, numbers, pattern="img_{:05d}.jpg", size=(32, 24)):
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.fromarray(picture(number, *size)).save(folder / pattern.format(number))
    return folder


def as_torchvision_reads(folder, pattern, numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        images = [decode_image(str(folder / pattern.format(number)), mode=ImageReadMode.RGB) for number in numbers]
    return torch.stack(images).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    ("pattern", "first"),
    [("img_{:05d}.jpg", 1), ("{:05d}.jpg", 1), ("{}.jpg", 0), ("frame-{:d}.png", 7), ("v2_image_{:04d}.JPEG", 1)],
)
def test_frames_come_in_the_order_of_their_numbers(tmp_path, pattern, first):
    numbers = range(first, first + 12)  # passes from one digit to two, where the order of names differs
    folder = fill(tmp_path / "frames", numbers, pattern)
    expected = as_torchvision_reads(folder, pattern, numbers)
    for options in ({}, {"frame_pattern": pattern}, {"reader": "torchcodec"}):
        with open_video(folder, **options) as reader:
            assert (reader.num_frames, reader.info.width, reader.info.height) == (12, 32, 24)
            np.testing.assert_array_equal(reader.frames_at(range(12)).frames_THWC, expected)
            np.testing.assert_array_equal(reader.frames_at([11, 0, 11]).frames_THWC, expected[[11, 0, 11]])


def test_the_rate_is_told_by_the_caller(tmp_path):
    folder = fill(tmp_path / "frames", range(6))
    assert open_video(folder, frames_fps=12).frames_at([0, 3]).pts_seconds.tolist() == [0.0, 0.25]
    assert open_video(folder, frames_fps=12).info.duration_seconds == 0.5
    with pytest.raises(VideoError, match="must be a finite number above 0"):
        open_video(folder, frames_fps=0)


def test_windows_of_folders(tmp_path):
    folder = fill(tmp_path / "frames", range(10))
    part = window(open_video(folder), first=4, last=6)
    assert np.array_equal(part.frames_at([0, 1]).frames_THWC, open_video(folder).frames_at([4, 5]).frames_THWC)


def test_other_files_in_the_folder_are_let_be(tmp_path):
    folder = fill(tmp_path / "frames", range(3))
    (folder / "notes.txt").write_text("first take")
    (folder / ".hidden").write_text("")
    (folder / "thumbnail.jpg").write_bytes(b"no number, no frame")
    assert open_video(folder).num_frames == 3


def test_grey_images_become_rgb(tmp_path):
    (tmp_path / "frames").mkdir()
    Image.fromarray(picture(3)[..., 0]).save(tmp_path / "frames/1.png")
    frame = open_video(tmp_path / "frames").frames_at([0]).frames_THWC[0]
    np.testing.assert_array_equal(frame, np.repeat(picture(3)[..., :1], 3, axis=2))


def refusal(folder, **options):
    with pytest.raises(VideoError) as caught:
        reader = open_video(folder, **options)
        reader.frames_at(range(reader.num_frames))
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_holes_are_named(tmp_path):
    folder = fill(tmp_path / "frames", [1, 2, 4, 5, 8])
    assert "5 of 8 frames are there; missing: 3, 6, 7;" in refusal(folder)
    folder = fill(tmp_path / "more", [0, 20])
    assert "missing: 1, 2, 3, 4, 5 and 14 more" in refusal(folder)


def test_numbers_far_apart_are_refused_without_counting_through_them(tmp_path):
    folder = fill(tmp_path / "frames", [1, 2, 10**15])  # such as times in microseconds
    assert "missing: 3, 4, 5, 6, 7 and 999999999999992 more" in refusal(folder)


def test_two_kinds_of_images_need_a_pattern(tmp_path):
    folder = fill(tmp_path / "frames", range(3))
    fill(folder, range(5), "flow_x_{:05d}.jpg")
    message = refusal(folder)
    assert "several kinds of images (flow_x_*.jpg, img_*.jpg); keep one, or name it with frame_pattern" in message
    assert open_video(folder, frame_pattern="flow_x_{:05d}.jpg").num_frames == 5


def test_two_files_of_one_number(tmp_path):
    folder = fill(tmp_path / "frames", range(3), "{}.jpg")
    fill(folder, [1], "{:05d}.jpg")
    assert "00001.jpg and 1.jpg are the same frame" in refusal(folder)


def test_a_pattern_that_fits_nothing(tmp_path):
    folder = fill(tmp_path / "frames", range(3))
    assert "holds no frames; expected 'image_{:05d}.jpg'" in refusal(folder, frame_pattern="image_{:05d}.jpg")


@pytest.mark.parametrize("pattern", ["img.jpg", "{}_{}.jpg", "img_%05d.jpg", "img_{name}.jpg"])
def test_patterns_without_one_place_for_the_number(tmp_path, pattern):
    folder = fill(tmp_path / "frames", range(3))
    with pytest.raises(ConfigError, match=re.escape(f"{pattern!r}: expected one place for the number")):
        open_video(folder, frame_pattern=pattern)


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_broken_image_is_named(tmp_path, content):
    folder = fill(tmp_path / "frames", range(5))
    (folder / "img_00003.jpg").write_bytes(content)
    assert "img_00003.jpg: a broken image" in refusal(folder)


def test_a_truncated_image_is_named(tmp_path):
    folder = fill(tmp_path / "frames", range(5))
    image = folder / "img_00003.jpg"
    image.write_bytes(image.read_bytes()[:600])
    assert "img_00003.jpg: a broken image" in refusal(folder)


def test_damage_within_a_whole_image_is_named(tmp_path):
    """Pillow shows such an image without a word."""
    folder = fill(tmp_path / "frames", range(5), size=(320, 240))
    image = folder / "img_00003.jpg"
    data = bytearray(image.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    image.write_bytes(data)
    assert np.asarray(Image.open(image)).shape == (240, 320, 3)
    assert "img_00003.jpg: a broken image (Corrupt JPEG data" in refusal(folder)


def test_an_image_with_the_wrong_ending_is_read_as_what_it_is(tmp_path):
    folder = fill(tmp_path / "frames", range(2))
    Image.fromarray(picture(2, 32, 24)).save(folder / "img_00002.jpg", format="PNG")
    np.testing.assert_array_equal(open_video(folder).frames_at([2]).frames_THWC[0], picture(2, 32, 24))


def test_images_of_two_sizes(tmp_path):
    folder = fill(tmp_path / "frames", range(3))
    fill(folder, [3], size=(30, 24))
    assert "img_00003.jpg is 30x24, the first one 32x24" in refusal(folder)
    with open_video(folder) as reader:
        assert [tuple(frame.shape) for _, frame in reader] == [(24, 32, 3)] * 3 + [(24, 30, 3)]


@pytest.mark.parametrize("number", [1, 2])
def test_a_frame_that_is_no_regular_file_is_not_waited_for(tmp_path, number):
    for name in (1, 2):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / f"{number}.png").unlink()
    os.mkfifo(tmp_path / f"{number}.png")
    with pytest.raises(VideoError, match=rf"{number}\.png: is no regular file but a device or a pipe"):
        open_video(tmp_path).frames_at([0, 1])


def test_a_frame_of_many_gigabytes_is_not_read(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "1.png")
    with (tmp_path / "2.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(VideoError, match=r"2\.png: 1,099,511,627,776 bytes, but a frame has at most"):
        open_video(tmp_path).frames_at([1])
