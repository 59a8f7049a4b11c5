from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_recognizer import LABELS, noisy_frames

from lsn.errors import ConfigError, VideoError
from lsn.inference.annotate import _steady, write_annotated_video
from lsn.inference.predictor import Prediction, Predictor
from lsn.video import array_reader, open_video, write_video
from lsn.video.writing.font import dejavu_sans
from lsn.video.writing.overlay import Overlay, Track, printable, shorten


def made_prediction(evidence_TK, seconds, labels=LABELS):
    log_evidence = np.log(np.array(evidence_TK, dtype=np.float32))
    mean = torch.from_numpy(log_evidence).mean(dim=0).softmax(dim=0).numpy()
    return Prediction("video", tuple(labels), mean, log_evidence, np.array(seconds, dtype=np.float64), {})


def track_of(prediction):
    return Track(prediction.labels, prediction.cumulative_probabilities_TK(), prediction.frame_pts_seconds)


PREDICTION = made_prediction([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.1, 0.5, 0.1, 0.1, 0.1, 0.1]], [0.2, 0.6])


def read_all(path):
    with open_video(path) as reader:
        return reader.info, reader.frames_at(range(reader.num_frames)).frames_THWC.astype(int)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 426), (321, 243)])
def test_every_frame_is_there_with_the_panel_at_the_bottom(tmp_path, width, height):
    frames = noisy_frames(1, num_frames=8, height=height, width=width)
    source, out = tmp_path / "in.mp4", tmp_path / "new" / "out.mp4"
    write_video(source, frames, fps=10)
    write_annotated_video(source, PREDICTION, out)
    before, plain = read_all(source)
    after, drawn = read_all(out)
    assert (after.num_frames, after.width, after.height) == (8, before.width, before.height)
    assert after.average_fps == pytest.approx(10)
    change = np.abs(drawn - plain).mean(axis=(0, 2, 3))  # by row
    assert change[: before.height // 2].max() < 10, "the upper half is left alone"
    assert change[-before.height // 5 : -before.height // 20].min() > 20
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


def test_small_videos_are_enlarged_for_the_text(tmp_path):
    write_annotated_video(noisy_frames(1, num_frames=3, height=64, width=80), PREDICTION, tmp_path / "out.mp4", fps=5)
    info, _ = read_all(tmp_path / "out.mp4")
    assert (info.width, info.height, info.num_frames, info.average_fps) == (320, 256, 3, 5)


def test_frames_of_a_varying_rate_keep_their_time(tmp_path):
    times = [0, 1, 2, 3, 12, 13, 14]  # twentieths of a second: a pause of almost half a second
    colours = [30 * (index + 1) for index in range(len(times))]
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 20)
        for time, colour in zip(times, colours, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), colour, dtype=np.uint8), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    write_annotated_video(source, PREDICTION, tmp_path / "out.mp4")
    with open_video(tmp_path / "out.mp4") as reader:
        shown = [(seconds, float(frame[:60].mean())) for seconds, frame in reader]
    for seconds, colour in shown:
        tick = round(seconds * 20)
        expected = max((t, c) for t, c in zip(times, colours, strict=True) if t <= tick)[1]
        assert colour == pytest.approx(expected, abs=6)
    assert len(shown) == pytest.approx(15, abs=1)


def test_a_last_frame_that_is_shown_for_long_is_held():
    reader = array_reader(noisy_frames(1, num_frames=2), fps=4)
    reader.info = replace(reader.info, duration_seconds=1.25)
    shown = [(clock, pts) for clock, pts, _ in _steady(reader, rate=4)]
    assert shown == [(0, 0), (0.25, 0.25), (0.5, 0.25), (0.75, 0.25), (1, 0.25)]


def bars(prediction, pts_seconds, *, width=640, height=480):
    """Lengths of the best bar and of the longest other bar over the length of the panel, read from the pixels."""
    picture = Image.new("RGB", (width, height))
    overlay = Overlay(track_of(prediction), width=width, height=height, start_seconds=0.0, duration_seconds=1.0)
    overlay.draw_at(picture, clock_seconds=pts_seconds, pts_seconds=pts_seconds)
    pixels = np.asarray(picture).astype(int)
    panel = (pixels.sum(axis=2) > 0).any(axis=0).sum()
    blue = (pixels[..., 2] > pixels[..., 0] + 120).sum(axis=1).max()
    grey = ((pixels[..., 2] > pixels[..., 0] + 15) & (pixels[..., 0] > 55) & (pixels[..., 0] < 110)).sum(axis=1).max()
    return blue / panel, grey / panel


@pytest.mark.parametrize("best", [0.2, 0.5, 0.9])
def test_bars_are_as_long_as_the_probabilities(best):
    other = 0.6 * (1 - best)
    prediction = made_prediction([[best, other, *[0.1 * (1 - best)] * 4]], [0.0])
    blue, grey = bars(prediction, 0.5)
    assert blue == pytest.approx(max(best, other), abs=0.04)
    assert grey == pytest.approx(min(best, other), abs=0.04)


def test_the_running_answer_changes_when_a_sampled_frame_is_shown():
    first, both = (
        made_prediction([[0.9, 0.1]], [0.2], "ab"),
        made_prediction([[0.9, 0.1], [0.3, 0.7]], [0.2, 0.6], "ab"),
    )
    assert bars(both, 0.19)[0] < 0.02
    assert bars(both, 0.2) == bars(first, 0.2)
    assert bars(both, 0.59)[0] == pytest.approx(0.9, abs=0.04)
    # The mean of the scores: odds of sqrt(9 * 3 / 7) to 1.
    assert bars(both, 0.6)[0] == pytest.approx(1 / (1 + (9 * 3 / 7) ** -0.5), abs=0.04)


def test_the_cursor_moves_with_time():
    def picture(seconds):
        image = Image.new("RGB", (320, 240))
        overlay = Overlay(track_of(PREDICTION), width=320, height=240, start_seconds=5.0, duration_seconds=10.0)
        overlay.draw_at(image, clock_seconds=5.0 + seconds, pts_seconds=0.7)
        return np.asarray(image).astype(int)

    white = [(picture(seconds).min(axis=2) > 240)[-40:].sum(axis=1).max() for seconds in (0, 2.5, 5, 7.5, 10)]
    steps = np.diff(white)
    assert steps.min() > 0
    assert steps.max() <= 1.3 * steps.min()


@pytest.mark.parametrize("num_labels", [1, 2, 4])
@pytest.mark.parametrize(("width", "height"), [(240, 240), (1920, 1080)])
def test_few_labels_and_any_size(num_labels, width, height):
    labels = ["a very long label that goes on and on " * 5, "two\nlines\0", "", "Ψ"][:num_labels]
    prediction = made_prediction([[1 / num_labels] * num_labels], [0.0], labels)
    picture = Image.new("RGB", (width, height))
    Overlay(track_of(prediction), width=width, height=height, start_seconds=0.0, duration_seconds=0.0).draw_at(
        picture, clock_seconds=0.0, pts_seconds=0.0
    )
    box = picture.getbbox()
    assert box[0] > 0 and box[2] < width and box[3] < height and box[1] > height // 2 - 1


@given(text=st.text(max_size=60), room=st.floats(0, 400))
def test_labels_are_cut_to_their_room(text, room):
    font, text = dejavu_sans(13), printable(text)
    short = shorten(text, font, room)
    if short != text:
        assert short.endswith("…")
        assert text.startswith(short[:-1])
        assert font.getlength(text) > room
        assert font.getlength(short) <= room or short == "…"


def test_a_real_prediction_is_drawn(loaded, videos, tmp_path):
    prediction = Predictor(loaded, device="cpu")(videos / "6.mp4")
    write_annotated_video(videos / "6.mp4", prediction, tmp_path / "out.mp4")
    assert read_all(tmp_path / "out.mp4")[0].num_frames == 15


def test_the_video_itself_is_never_replaced(videos):
    before = (videos / "0.mp4").read_bytes()
    with pytest.raises(ConfigError, match=r"0\.mp4: would be written over"):
        write_annotated_video(videos / "0.mp4", PREDICTION, videos / ".." / videos.name / "0.mp4")
    assert (videos / "0.mp4").read_bytes() == before


def test_bad_input_leaves_no_file(videos, tmp_path):
    for video, name in ((videos / "empty.mp4", "out.mp4"), (videos / "0.mp4", "out.gif")):
        with pytest.raises(VideoError):
            write_annotated_video(video, PREDICTION, tmp_path / name)
    assert not list(tmp_path.iterdir())
