"""The benchmarks of streams run, and say what they compared; their figures are in docs/benchmarks.md."""

from collections import Counter

import numpy as np
import pytest

from lsn import create_model
from lsn.config import FrameRates, InputConfig
from lsn.data import read_manifest
from lsn.data.synthetic import write_synthetic
from lsn.data.timelines.reading import read_timelines
from lsn.data.timelines.table import TimelineEvent
from lsn.models.weights import save_weights
from lsn.video import open_video, write_video

LABELS = ("left", "right", "pause")


@pytest.fixture(scope="module")
def gesture_stream(import_script):
    return import_script("gesture_stream")


@pytest.fixture(scope="module")
def gestures(tmp_path_factory):
    """A folder like EgoGestAR's, of small noise."""
    folder = tmp_path_factory.mktemp("gestures")
    rng = np.random.default_rng(0)
    for split, number in (("train", 4), ("val", 3)):
        rows = ["path,label,scene"]
        for index in range(number):
            frames = rng.integers(0, 255, (20, 40, 48, 3), dtype=np.uint8)
            write_video(folder / split / f"{index}.mp4", frames, fps=10)
            rows.append(f"{split}/{index}.mp4,{LABELS[index % 2]},{'sv'[split == 'val']}{index:02}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    model = create_model("lsn_test_resnet", num_classes=3, num_frames=4)
    input = InputConfig(size=32, short_side=32)
    save_weights(folder, model, labels=LABELS, input=input, metrics={}, frame_rates=FrameRates(5, 5, 5))
    return folder


@pytest.mark.slow
def test_steps_windows_and_pools_are_compared_after_they_agree(import_script, capsys):
    arguments = ["--model", "lsn_test_resnet", "--size", "32", "--turns", "1", "--streams", "3", "--threads", "1"]
    assert import_script("step_cost").main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("largest difference") == 2
    assert all(
        name in out for name in ("step / bare CNN", "window of 16 / step", "3 streams one by one / in one batch")
    )


@pytest.mark.slow
def test_families_are_verified(import_script, capsys, monkeypatch):
    script = import_script("streams_equal")
    monkeypatch.setattr(script, "FAMILIES", script.FAMILIES[-1:])  # the tests of verify have the others
    assert script.main(["--cnns", "test_resnet", "--size", "32", "--num-frames", "4"]) == 0
    assert capsys.readouterr().out.count("pass") == 1


@pytest.mark.slow
def test_a_long_stream_tells_memory_and_time(import_script, weights, capsys):
    assert import_script("soak").main([str(weights), "--frames", "1100"]) == 0
    out = capsys.readouterr().out
    assert "1100 answers; memory from frame 1000 on" in out
    assert "median time of the last / first thousand" in out


def test_windows_of_joined_videos_are_labelled_by_their_end(gesture_stream, gestures, tmp_path):
    gesture_stream.main(["windows", str(gestures), str(tmp_path), "--rounds", "2", "--clips-per-class", "2"])
    manifest = read_manifest(tmp_path / "train.csv")
    assert {clip.label for clip in manifest.clips} == set(LABELS)
    assert len({clip.path for clip in manifest.clips}) == 2, "a video a round"
    for clip in manifest.clips:
        assert clip.end_seconds - clip.start_seconds == pytest.approx(6)
        with open_video(clip.path) as reader:
            assert 0 <= clip.start_seconds < clip.end_seconds <= reader.info.duration_seconds + 0.01


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (10.9, None),
        (11.1, "unclear"),
        (12.9, "unclear"),
        (13.1, "left"),
        (14.7, "left"),
        (15.0, "unclear"),
        (15.3, None),
    ],
)
def test_what_is_shown_at_a_time(gesture_stream, seconds, shown):
    truth = TimelineEvent("left", 10.0, 14.0)
    expected = {"left": truth, "unclear": gesture_stream.UNCLEAR}.get(shown)
    assert gesture_stream.shown_at([truth], seconds) is expected


def test_a_pause_drifts_but_little(gesture_stream):
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    frames = gesture_stream.drift(picture, 30, 15.0, seed=0)
    assert frames.shape == (30, 30, 40, 3)
    assert len({frame.mean() for frame in frames}) > 20, "no two frames are the same"


def test_variants_have_their_rates(gesture_stream, gestures, weights, capsys):
    gesture_stream.main(["rates", str(gestures), str(weights)])
    out = capsys.readouterr().out
    assert [line[:24].strip() for line in out.splitlines()[1:]] == [
        "30 fps",
        "15 fps",
        "7.5 fps",
        "30 fps, a tenth dropped",
    ]


@pytest.mark.parametrize("held_out", [(), ("s02",)])
def test_joined_videos_list_their_gestures_and_no_scene_is_in_two_splits(gesture_stream, gestures, tmp_path, held_out):
    gesture_stream.main(["timelines", str(gestures), str(tmp_path), "--held-out", *held_out])
    splits = {name: read_timelines(tmp_path / f"{name}.csv") for name in ("train", "val", "test")}
    numbers = {name: sum(found.num_events().values()) for name, found in splits.items()}
    assert numbers == ({"train": 30, "val": 3, "test": 3} if held_out else {"train": 18, "val": 3, "test": 9})
    for video in splits["test"].videos:
        with open_video(video.path) as reader:
            assert 0.7 < video.events[0].start_seconds < video.events[-1].end_seconds < reader.info.duration_seconds


def test_fights_are_joined_with_calm_clips_of_their_split(import_script, tmp_path):
    rng = np.random.default_rng(0)
    rows = ["path,label,source"]
    for number in range(24):
        frames = rng.integers(0, 255, (6, 40, 48, 3), dtype=np.uint8)
        write_video(tmp_path / f"{number}.mp4", frames, fps=10)
        rows.append(f"{number}.mp4,{('fight', 'nofight')[number % 2]},v{number // 4}")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    script = import_script("fight_stream")
    assert script.main([str(tmp_path), str(tmp_path / "out"), "--rounds", "2"]) == 0
    splits = {name: read_timelines(tmp_path / f"out/{name}.csv") for name in ("train", "val", "test")}
    assert {name: sum(found.num_events().values()) for name, found in splits.items()} == {
        "train": 2 * 6,
        "val": 2 * 2,
        "test": 2 * 4,
    }
    for video in splits["train"].videos:
        with open_video(video.path) as reader:
            assert video.events[0].start_seconds > 0.5, "a calm clip comes first"
            assert video.events[-1].end_seconds < reader.info.duration_seconds - 0.5, "and last"


@pytest.mark.slow
def test_a_long_video_in_two_parts_has_the_events_of_the_whole(import_script, tmp_path, capsys):
    made = write_synthetic(tmp_path, kind="timeline", num_train=2, num_val=2, num_frames=120, num_workers=0)
    video = sorted(made.val.parent.glob("val/*.mp4"))[0]
    assert import_script("long_video").main(["starter:motion", str(video)]) == 0
    out = capsys.readouterr().out
    assert out.count("MB resident") == 10 and "times real time" in out and "the same: True" in out


def test_fewer_clips_a_class_are_fewer_to_train_on_alone(gesture_stream, gestures):
    all_of_them, fewer = (gesture_stream.split_scenes(gestures, (), number) for number in (100, 1))
    assert Counter(clip.label for clip in fewer["train"].clips) == dict.fromkeys(fewer["train"].labels, 1)
    assert len(all_of_them["train"]) > len(fewer["train"])
    assert [fewer[split] for split in ("val", "test")] == [all_of_them[split] for split in ("val", "test")]
