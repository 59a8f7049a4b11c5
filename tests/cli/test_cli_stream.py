"""`lsn stream`, `lsn timeline` and `lsn verify` on real files."""

import json

import pytest

from lsn import create_model
from lsn.cli.options.source import SourceFlags, source_options
from lsn.config import InputConfig
from lsn.models.weights import save_weights
from lsn.video import open_video
from lsn.video.live.options import SourceOptions


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_answer_as_json(lsn, streaming, clip):
    answer = lsn("stream", streaming, clip, "--json")
    assert answer.code == 0
    *answers, end = lines_of(answer.out)
    with open_video(clip) as reader:
        seconds = reader.info.duration_seconds
    assert len(answers) == pytest.approx(8 * seconds, abs=1)
    assert [each["seconds"] for each in answers] == pytest.approx([t / 8 for t in range(len(answers))])
    assert sum(answers[-1]["probabilities"]) == pytest.approx(1)
    assert answers[0]["reset"] == "start"
    assert end["counts"]["num_ticks"] == len(answers)
    assert end["error"] is None


def test_lines_events_recording_and_a_state_to_go_on_from(lsn, streaming, clip, tmp_path):
    events, record, state = tmp_path / "logs/events.jsonl", tmp_path / "seen.mp4", tmp_path / "state.safetensors"
    easy = ("--on-threshold", 0.01, "--off-threshold", 0.005, "--min-seconds", 0)
    answer = lsn("stream", streaming, clip, "--events", events, "--record", record, "--save-state", state, *easy)
    assert answer.code == 0, answer.err
    assert "8 frames per second" in answer.out
    assert f"{clip}  ended at" in answer.out
    with open_video(record) as reader:
        assert reader.num_frames > 1
    written = lines_of(events.read_text())
    assert all(event["stream"] == str(clip) and event["end_seconds"] >= event["start_seconds"] for event in written)
    assert len(written) >= 1
    again = lsn("stream", streaming, clip, "--state", state, "--events", events, *easy)
    assert again.code == 0
    assert len(lines_of(events.read_text())) > len(written), "events are appended"


def test_many_sources_one_of_which_fails(lsn, streaming, clip, videos):
    other = videos.val.parent / videos.val.read_text().splitlines()[2].split(",")[0]
    answer = lsn("stream", streaming, clip, other, "missing.mp4")
    assert answer.code == 2
    assert answer.err.startswith("lsn: missing.mp4: no such file")
    assert answer.err.count("\n") == 1
    assert all(f"{name}  ended at" in answer.out for name in (clip, other))


def test_a_timeline_of_a_whole_video(lsn, streaming, clip, tmp_path):
    out = tmp_path / "seen"
    answer = lsn("timeline", streaming, clip, "--out", out, "--on-threshold", 0.01, "--off-threshold", 0.005)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in out.iterdir()) == ["annotated.mp4", "events.jsonl", "timeline.png"]
    assert (out / "timeline.png").read_bytes().startswith(b"\x89PNG")
    with open_video(out / "annotated.mp4") as annotated, open_video(clip) as original:
        assert annotated.num_frames == original.num_frames
    assert len(lines_of((out / "events.jsonl").read_text())) == answer.out.count("%") // 2


def test_the_threshold_of_events_is_fitted_on_the_validation(lsn, streaming, videos, clip, tmp_path):
    lsn("evaluate", streaming, videos.val, "--out", tmp_path, "--workers", 0)
    for file in streaming.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    rows = [line.split(",") for line in (tmp_path / "predictions.csv").read_text().splitlines()[1:]]
    right = [float(row[3]) for row in rows if row[5] == "1"]
    answer = lsn("stream", tmp_path, clip)
    expected = f"{min(right):.2f} (95% of the right" if right else "events enter at 0.60"
    assert expected in answer.out  # with ten videos or fewer, 95% of the right answers are all of them


@pytest.mark.slow
def test_verify_passes_and_says_what_it_compared(lsn, streaming, clip):
    answer = lsn("verify", streaming, clip, "--num-frames", 4)
    assert answer.code == 0, answer.out
    assert "FAIL" not in answer.out
    assert answer.out.count("pass") == 5


def test_verify_fails_where_the_past_says_nothing(lsn, weights, monkeypatch):
    monkeypatch.setattr(
        "lsn.streaming.verify._saved_difference", lambda *_: 0.0
    )  # another process, which takes seconds
    answer = lsn("verify", weights, "--num-frames", 4)  # a fresh memory is the identity
    assert answer.code == 2
    assert "FAILED: control" in answer.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "nothing to watch"),
        (("a.mp4", "a.mp4"), "twice"),
        (("a.mp4", "b.mp4", "--record", "c.mp4"), "--record is for one source"),
        (("a.mp4", "--consensus", "median"), "consensus 'median'"),
        (("a.mp4", "--fps", "0"), "fps is 0"),
        (("a.mp4", "--off-threshold", "0.9", "--on-threshold", "0.5"), "off_threshold <= on_threshold"),
        (("a.mp4", "--background", "nothing"), "background 'nothing'"),
        (("missing.mp4",), "missing.mp4: no such file"),
        (("http://127.0.0.1:9/live",), "127.0.0.1:9"),
    ],
)
def test_bad_input_is_one_line(lsn, streaming, arguments, expected):
    answer = lsn("stream", streaming, *arguments)
    assert answer.code == 2
    assert answer.err.startswith("lsn: ") and answer.err.count("\n") == 1
    assert expected in answer.err


def test_weights_without_a_rate_say_what_to_give(lsn, weights, clip):
    assert "--fps 8" in lsn("stream", weights, clip).one_error_line()


def test_a_model_that_looks_ahead_is_refused(lsn, videos, clip, tmp_path):
    model = create_model("tsm_test_resnet", num_classes=len(videos.labels))
    save_weights(tmp_path, model, labels=videos.labels, input=InputConfig(size=32, short_side=32), metrics={})
    for command in ("stream", "timeline", "verify"):
        fps = () if command == "verify" else ("--fps", 8)
        assert "model.shift=causal" in lsn(command, tmp_path, clip, *fps).one_error_line()


def test_flags_that_are_not_given_leave_the_defaults():
    assert SourceFlags().options_of(["door"], fps=None) == {"door": SourceOptions()}


def test_options_of_sources_for_all_and_for_one():
    common = SourceOptions(fps=5.0)
    given = ["num_threads=2", "a.b.mp4.timeout_seconds=3", "door.ffmpeg.video_size=640x480", "door.transport=udp"]
    options = source_options(["a.b.mp4", "door"], common, given)
    assert options == {
        "a.b.mp4": SourceOptions(fps=5.0, num_threads=2, timeout_seconds=3.0),
        "door": SourceOptions(fps=5.0, num_threads=2, transport="udp", ffmpeg_options={"video_size": "640x480"}),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nonsense", "expected KEY=VALUE or STREAM.KEY=VALUE"),
        ("timeout=3", "unknown key 'timeout'; did you mean 'timeout_seconds'?"),
        ("num_threads=many", "num_threads: expected int, got 'many'"),
        ("num_threads=0", "0 decoding threads"),
        ("transport=pigeon", "transport: 'pigeon' is not allowed"),
        ("other.fps=3", "unknown key 'other.fps'"),
        ("ffmpeg_options=x", "give each option of FFmpeg by itself"),
        ("policy=[", "the value is not YAML"),
    ],
)
def test_options_of_sources_that_are_none(lsn, streaming, clip, given, said):
    answer = lsn("stream", streaming, clip, "--source-option", given)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1


def test_an_option_of_a_source_reaches_it(lsn, streaming, clip):
    answer = lsn("stream", streaming, f"door={clip}", "--json", "--source-option", "door.ffmpeg.x=1")
    assert answer.code == 2 and "ffmpeg_options are for cameras and addresses" in answer.err
    assert (
        "transport is for addresses of RTSP"
        in lsn("stream", streaming, "http://127.0.0.1:9/", "--transport", "udp").err
    )
