"""Sources that wait: files, folders, readers and iterators of frames; and what is no source."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video_files import TURNS, picture, turned

from lsn.errors import ConfigError, VideoError
from lsn.video import open_video, window, write_video
from lsn.video.live.file_source import IteratorSource
from lsn.video.live.opening import open_live
from lsn.video.live.options import SourceOptions


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("live") / "clip.mp4"
    write_video(path, np.stack([picture(number) for number in range(12)]), fps=10)
    return path


def frame(value=7):
    return np.full((4, 6, 3), value, np.uint8)


def message_of(frames, **options) -> str:
    with pytest.raises(VideoError) as caught, open_live(frames, SourceOptions(**options)) as source:
        for live in source:
            live.rgb()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("make", [Path, str, lambda path: path.as_uri(), lambda path: path.read_bytes(), open_video])
def test_a_video_has_its_own_times_and_pictures(clip, make):
    with open_video(clip) as reader, open_live(make(clip)) as source:
        frames = list(source)
        assert not source.is_live
        assert [live.pts_seconds for live in frames] == reader.pts_seconds.tolist()
        assert np.array_equal([live.rgb() for live in frames], reader.frames_at(range(12)).frames_THWC)
        assert source.end_seconds == pytest.approx(1.2)


def test_pictures_are_made_when_asked_for_and_once(clip):
    with open_live(clip) as source:
        frames = list(source)
        assert frames[9].rgb() is frames[9].rgb()
        with open_video(clip) as reader:
            assert np.array_equal(frames[3].rgb(), reader.frames_at([3]).frames_THWC[0])  # back again
        untouched = frames[5]
    with pytest.raises(VideoError, match=r"clip\.mp4: closed; take the picture of frame 5 before that"):
        untouched.rgb()


def test_turned_videos_come_upright(clip, tmp_path):
    matrix = (0, 1, -1, 0)
    path = turned(clip, matrix, tmp_path / "turned.mp4")
    with open_live(path) as source, open_video(clip) as reader:
        upright, _ = TURNS[matrix]
        stored = reader.frames_at([0]).frames_THWC[0]
        np.testing.assert_array_equal(next(iter(source)).rgb(), upright(stored))


def test_a_folder_of_images_has_the_rate_that_it_is_given(tmp_path):
    for number in range(4):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.jpg")
    with open_live(tmp_path, SourceOptions(fps=8)) as source, open_video(tmp_path) as reader:
        frames = list(source)
        assert [live.pts_seconds for live in frames] == [0, 0.125, 0.25, 0.375]
        assert source.end_seconds == 0.5
        assert np.array_equal(frames[2].rgb(), reader.frames_at([2]).frames_THWC[0])
    with open_live(tmp_path) as source:
        assert source.end_seconds == pytest.approx(4 / 30)


def test_a_window_stays_on_the_clock_of_its_video(clip):
    with open_live(window(open_video(clip), first=3, last=6)) as source:
        assert [live.pts_seconds for live in source] == pytest.approx([0.3, 0.4, 0.5])
        assert source.end_seconds == pytest.approx(0.6)


def test_an_open_source_comes_back_as_it_is(clip):
    with open_live(clip) as source:
        assert open_live(source) is source


@pytest.mark.parametrize("make", [list, iter])
def test_pairs_keep_their_times(make):
    pairs = [(1.5, frame(1)), (torch.tensor(2.0), torch.from_numpy(frame(2))), (np.float64(2.25), frame(3)[:, ::-1])]
    with open_live(make(pairs)) as source:
        frames = list(source)
        assert [live.pts_seconds for live in frames] == [1.5, 2.0, 2.25]
        assert [int(live.rgb()[0, 0, 0]) for live in frames] == [1, 2, 3]
        assert source.end_seconds == 2.5


def test_frames_alone_have_the_rate_that_they_are_given():
    with open_live((frame() for _ in range(3)), SourceOptions(fps=4)) as source:
        assert source.end_seconds == 0.0
        assert [live.pts_seconds for live in source] == [0, 0.25, 0.5]
        assert source.end_seconds == 0.75


def test_frames_may_share_their_memory():
    def reused():
        memory = frame()
        for value in range(3):
            memory[:] = value
            yield memory

    with open_live(reused(), SourceOptions(fps=25)) as source:
        assert [int(live.rgb().max()) for live in list(source)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (frame().astype(np.float32), r"float32 of shape \(4, 6, 3\)"),
        (torch.zeros(4, 6, 3), r"torch.float32 of shape \(4, 6, 3\)"),
        (torch.zeros(4, 6, 3, dtype=torch.bfloat16), r"torch.bfloat16 of shape \(4, 6, 3\)"),
        (torch.Size([4, 6, 3]), "a Size"),
        (frame()[:0], r"uint8 of shape \(0, 6, 3\)"),
        (frame()[:0, :0], r"uint8 of shape \(0, 0, 3\)"),
        (frame()[..., 0], r"uint8 of shape \(4, 6\)"),
        (frame().transpose(2, 0, 1), r"uint8 of shape \(3, 4, 6\)"),
        ("picture.jpg", "a str"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_frame_is_named_by_its_number(wrong, words):
    message = message_of([(0.0, frame()), (0.1, frame()), (0.2, wrong)])
    assert re.match(rf"iterator of frames: frame 2 is {words}; expected a uint8 RGB array or tensor", message)


def test_times_and_rates_go_one_without_the_other():
    assert "frame 0 comes without a time (ndarray); give (seconds, frame) pairs, or fps" in message_of([frame()])
    assert "frame 1 comes with a time; leave fps out" in message_of([frame(), (0.1, frame())], fps=25)
    assert "frame 0 comes at nan; its time must be a number" in message_of([(float("nan"), frame())])
    assert "frame 0 comes at 'now'; its time must be a number" in message_of([("now", frame())])
    with pytest.raises(VideoError, match="iterator of frames: a rate of 0 frames per second"):
        IteratorSource([frame()], fps=0)


def test_closing_from_another_thread_ends_an_iteration(clip):
    for given in (clip, ((number / 10, frame()) for number in range(1000))):
        source = open_live(given)
        frames = iter(source)
        next(frames)
        thread = threading.Thread(target=source.close)
        thread.start()
        thread.join()
        assert next(frames, None) is None


def test_files_that_are_none_are_told_as_everywhere(tmp_path):
    assert message_of(tmp_path / "none.mp4") == f"{tmp_path}/none.mp4: no such file; check the spelling"
    (tmp_path / "0").write_text("not a camera")
    assert f"{tmp_path}/0: not a video file" in message_of(tmp_path / "0")
    assert "holds no frames" in message_of(_empty_folder(tmp_path))


def _empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def test_a_truncated_video_is_told_before_its_first_frame(make_video):
    path = make_video("truncated.mkv", codec="mpeg4", num_frames=20, g="20")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert message_of(path).startswith(f"{path}: truncated: ")


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (3.5, {}, "a source of frames is 3.5; expected a file, a folder, a camera's number"),
        (-1, {}, "a source of frames is -1;"),
        (None, {}, "a source of frames is None;"),
        ("clip.mp4", {"fps": 25.0}, "clip.mp4: fps is for folders of images, cameras and iterators"),
        ("rtsp://me:secret@host/x", {"fps": 25.0}, r"rtsp://me:\*\*\*@host/x: fps is for"),
        ("clip.mp4", {"ffmpeg_options": {"video_size": "640x480"}}, "ffmpeg_options are for cameras and addresses"),
    ],
)
def test_arguments_that_do_not_fit(source, options, words):
    with pytest.raises(ConfigError, match=words):
        open_live(source, SourceOptions(**options))


def test_open_readers_and_sources_know_their_rate(clip):
    with open_video(clip) as reader, pytest.raises(ConfigError, match="states its rate itself"):
        open_live(reader, SourceOptions(fps=5))
    with open_live(clip) as source, pytest.raises(ConfigError, match="states its rate itself"):
        open_live(source, SourceOptions(fps=5))
