"""Both readers give the same frames, or torchcodec's says why it cannot."""

import builtins
import sys

import numpy as np
import pytest
from video_files import CLIPS, KINDS, TURNS, needs_clips, turned

from lsn.errors import ConfigError, VideoError
from lsn.video import open_video
from lsn.video.decoding import torchcodec_reader


def loads() -> bool:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False
    return True


needs_torchcodec = pytest.mark.skipif(not loads(), reason="torchcodec does not load here")

# What torchcodec cannot address depends on the FFmpeg that it finds; these it must.
MUST = [
    "gop.mp4",
    "gop.mkv",
    "one_key.mp4",
    "open_gop.mp4",
    "hevc.mp4",
    "vp8.webm",
    "vp9.webm",
    "odd.webm",
    "one_frame.mp4",
]


@needs_torchcodec
@pytest.mark.parametrize("name", KINDS)
def test_the_same_frames_or_a_reason(make_video, name):
    path = make_video(name, **KINDS[name])
    with open_video(path) as reference:
        expected = reference.frames_at(range(reference.num_frames))
        every_fifth = range(reference.num_frames - 1, -1, -5)
        try:
            with open_video(path, reader="torchcodec") as reader:
                assert reader.info == reference.info
                batch = reader.frames_at(range(reader.num_frames))
                some = reader.frames_at(every_fifth).frames_THWC
        except VideoError as error:
            assert name not in MUST
            assert "torchcodec cannot read it" in str(error) and str(error).endswith("use the reader 'pyav'")
            return
    assert np.array_equal(batch.pts_seconds, expected.pts_seconds)
    assert np.array_equal(some, batch.frames_THWC[list(every_fifth)])
    # MPEG-4 Part 2, MPEG-2 and JPEG do not define pixels to the bit, so that two versions of FFmpeg may differ.
    tolerance = 2 if path.suffix in (".avi", ".mpg") or name == "xvid_b.mp4" else 0
    assert np.abs(batch.frames_THWC.astype(int) - expected.frames_THWC).max() <= tolerance


@needs_torchcodec
@needs_clips
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("R6llTwEh07w.mp4", 0),
        ("basketball.mp4", 0),
        ("bigbuckbunny.mp4", 0),
        ("decord_flipping_a_pancake.mkv", 0),
        ("v_SoccerJuggling_g23_c01.avi", 2),
    ],
)
def test_the_same_pixels_of_real_clips(name, tolerance):
    path = CLIPS[0].parent / name
    with open_video(path) as one, open_video(path, reader="torchcodec") as other:
        indices = range(0, one.num_frames, 11)
        difference = one.frames_at(indices).frames_THWC.astype(int) - other.frames_at(indices).frames_THWC
        assert np.abs(difference).max() <= tolerance


@needs_torchcodec
def test_bytes(make_video):
    path = make_video("gop.mp4", **KINDS["gop.mp4"])
    with open_video(path) as one, open_video(path.read_bytes(), reader="torchcodec", num_threads=2) as other:
        assert np.array_equal(one.frames_at([5, 50]).frames_THWC, other.frames_at([5, 50]).frames_THWC)


@needs_torchcodec
@pytest.mark.parametrize("matrix", TURNS)
def test_turned_videos(make_video, tmp_path, matrix):
    path = turned(make_video("upright.mp4", num_frames=3), matrix, tmp_path / "turned.mp4")
    a, b, c, d = matrix
    if a * d - b * c < 0:
        with pytest.raises(VideoError, match="does not apply the mirroring"):
            open_video(path, reader="torchcodec")
        return
    with open_video(path) as one, open_video(path, reader="torchcodec") as other:
        assert one.info == other.info
        assert np.array_equal(one.frames_at([0, 2]).frames_THWC, other.frames_at([0, 2]).frames_THWC)


@needs_torchcodec
def test_other_frames_than_asked_for_are_noticed(make_video):
    with open_video(make_video("gop.mp4", **KINDS["gop.mp4"]), reader="torchcodec") as reader:
        reader.pts_seconds = reader.pts_seconds + 0.5
        with pytest.raises(VideoError, match="gives other frames than those that were asked for"):
            reader.frames_at([3])


@pytest.mark.parametrize(
    "failure",
    [ImportError("No module named 'torchcodec'"), RuntimeError("Could not load libtorchcodec.\nLikely causes: ...")],
)
def test_torchcodec_that_does_not_load_says_how_to_install(make_video, monkeypatch, failure):
    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name.startswith("torchcodec"):
            raise failure
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.startswith("torchcodec")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(
        ConfigError, match=r"does not load \(.*\); install it with pip install 'lsn-video\[fast\]'"
    ) as caught:
        open_video(make_video("gop.mp4", **KINDS["gop.mp4"]), reader="torchcodec")
    assert "\n" not in str(caught.value)
    assert torchcodec_reader.__name__ in sys.modules
