"""Batches: every video is accounted for once."""

import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_recognizer import LABELS

from lsn.batch import BatchModel, BatchOptions, run_batch
from lsn.batch.journal import Journal, Record, latest
from lsn.batch.sources import SourceVideo, find_videos
from lsn.batch.stages import Setup, read_clip
from lsn.data.timelines.reading import read_timelines
from lsn.errors import ConfigError, DataError
from lsn.streaming import ResetRules, StreamingPredictor
from lsn.streaming.timeline import make_timeline

SOUND = ["a.mp4", "b.mp4", "copy.mp4", "deeper/c.mp4", "long.mp4"]
BAD = ["empty.mp4", "text.mp4", "torn.mp4"]


def rows(folder, table: str) -> list[dict]:
    return pq.read_table(folder / f"{table}.parquet").to_pylist()


def test_clips_have_the_answers_of_the_predictor(here, archive, clip_model, clip_predictor, tmp_path):
    result = run_batch([str(archive)], clip_model, tmp_path / "out")
    assert (result.num_videos, result.num_new, len(result.failures)) == (8, 8, 3)
    names = [row["path"].removeprefix(f"{archive}/") for row in rows(tmp_path / "out", "videos")]
    assert sorted(names) == sorted(SOUND + BAD)
    predictions = rows(tmp_path / "out", "predictions")
    assert sorted(row["path"] for row in predictions) == sorted(str(archive / name) for name in SOUND)
    for row in predictions:
        expected = clip_predictor(row["path"])
        np.testing.assert_array_equal(np.float32(row["probabilities"]), expected.probabilities)
        assert row["label"] == expected.label
    for row in rows(tmp_path / "out", "failures"):
        assert row["status"] == "unreadable"
        assert row["error"].startswith(row["path"])
    for row in rows(tmp_path / "out", "videos"):
        if row["status"] == "done":
            assert row["sha256"] == hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest()


@pytest.mark.parametrize("part_seconds", [1000.0, 3.1])
def test_long_videos_have_the_events_of_one_pass(part_seconds, here, archive, long_model, long_predictor, tmp_path):
    run_batch([str(archive)], long_model, tmp_path / "out", options=BatchOptions(part_seconds=part_seconds))
    found = rows(tmp_path / "out", "events")
    assert len(found) > 5
    for name in SOUND:
        expected = make_timeline(long_predictor, archive / name).events
        own = [row for row in found if row["path"] == str(archive / name)]
        assert [(row["label"], row["start_seconds"], row["end_seconds"]) for row in own] == [
            (event.label, event.start_seconds, event.end_seconds) for event in expected
        ]
        np.testing.assert_allclose(
            [row["confidence"] for row in own], [event.confidence for event in expected], atol=1e-5
        )
    assert sorted(row["path"] for row in rows(tmp_path / "out", "failures")) == [str(archive / name) for name in BAD]


def test_parts_that_warm_up_are_those_of_one_pass_once_the_warm_up_is_long(here, archive, long_model, tmp_path):
    for name, warm_up in (("whole", None), ("long", 12.0), ("short", 0.1)):
        options = BatchOptions(part_seconds=3, warm_up_seconds=warm_up)
        run_batch([str(archive / "long.mp4")], long_model, tmp_path / name, options=options)
    assert rows(tmp_path / "long", "events") == rows(tmp_path / "whole", "events")
    assert rows(tmp_path / "short", "events") != rows(tmp_path / "whole", "events")


@pytest.mark.parametrize("kind", ["clip", "long"])
def test_a_batch_that_is_stopped_anywhere_resumes(kind, here, archive, clip_model, long_model, tmp_path):
    model, options = (clip_model if kind == "clip" else long_model), BatchOptions(part_seconds=3)
    run_batch([str(archive)], model, tmp_path / "whole", options=options)
    here.stop_after = 2  # in every run two more rows are done
    for _ in range(20):
        try:
            run_batch([str(archive)], model, tmp_path / "stopped", options=options)
        except KeyboardInterrupt:
            continue
        break
    else:
        pytest.fail("it makes no progress")
    for table in ("videos", "failures", "predictions" if kind == "clip" else "events"):
        assert rows(tmp_path / "stopped", table) == rows(tmp_path / "whole", table)
    here.stop_after = 0  # whatever is computed now fails
    assert run_batch([str(archive)], model, tmp_path / "stopped", options=options).num_new == 0


def test_new_and_changed_videos_are_answered_and_copies_are_not_run_again(here, archive, clip_model, tmp_path):
    run_batch([str(archive)], clip_model, tmp_path / "out")
    (archive / "copy.mp4").rename(archive / "moved.mp4")  # a content that is known
    (archive / "b.mp4").write_bytes((archive / "long.mp4").read_bytes())
    records = Journal(tmp_path / "out/journal")
    num_before = sum(record.has_result for record in records.records())
    result = run_batch([str(archive)], clip_model, tmp_path / "out")
    assert result.num_new == 2
    assert sum(record.has_result for record in records.records()) == num_before
    answers = {row["path"]: row["probabilities"] for row in rows(tmp_path / "out", "predictions")}
    assert answers[str(archive / "moved.mp4")] == answers[str(archive / "a.mp4")]
    assert answers[str(archive / "b.mp4")] == answers[str(archive / "long.mp4")]


def test_failures_are_tried_again_alone_if_asked(here, archive, clip_model, tmp_path):
    run_batch([str(archive)], clip_model, tmp_path / "out")
    assert run_batch([str(archive)], clip_model, tmp_path / "out").num_new == 0
    result = run_batch([str(archive)], clip_model, tmp_path / "out", options=BatchOptions(retry_failed=True))
    assert (result.num_new, len(result.failures)) == (3, 3)
    (archive / "empty.mp4").write_bytes((archive / "b.mp4").read_bytes())
    result = run_batch([str(archive)], clip_model, tmp_path / "out")  # it has changed
    assert (result.num_new, len(result.failures)) == (1, 2)


def test_a_part_that_cannot_be_read_fails_its_video_alone(here, archive, long_model, tmp_path, monkeypatch):
    from lsn.batch import stages

    read = stages.read_part

    def damaged(job, setup):
        if job.of.video.path.endswith("long.mp4") and job.part.number == 1:
            return {"path": job.of.video.path, "job": job, "error": "damaged here", "status": "unreadable"}
        return read(job, setup)

    monkeypatch.setattr("lsn.batch.run.read_part", damaged)
    result = run_batch([str(archive)], long_model, tmp_path / "out", options=BatchOptions(part_seconds=3))
    assert [record.error for record in result.failures if record.path.endswith("long.mp4")] == ["damaged here"]
    monkeypatch.undo()
    monkeypatch.setattr("lsn.batch.run.Cluster", here)
    options = BatchOptions(part_seconds=3, retry_failed=True)
    result = run_batch([str(archive)], long_model, tmp_path / "out", options=options)
    assert sorted(record.path for record in result.failures) == [str(archive / name) for name in BAD]


def test_a_folder_holds_one_batch(here, archive, clip_model, long_model, long_predictor, long_weights, tmp_path):
    sources, out = [str(archive / "a.mp4")], tmp_path / "out"
    run_batch(sources, long_model, out)
    with pytest.raises(DataError, match=r"holds a batch with another part_seconds \(120.0\)"):
        run_batch(sources, long_model, out, options=BatchOptions(part_seconds=60))
    with pytest.raises(DataError, match="holds a batch with another "):
        run_batch(sources, clip_model, out)
    other = BatchModel.of(StreamingPredictor(long_weights, fps=7), str(long_weights))
    with pytest.raises(DataError, match="another fps"):
        run_batch(sources, other, out)
    with pytest.raises(ConfigError, match="scene cuts"):
        BatchModel.of(StreamingPredictor(long_weights, resets=ResetRules(scene_cut=0.4)), str(long_weights))
    (out / "batch.json").write_text("{")
    with pytest.raises(DataError, match=r"batch.json"):
        run_batch(sources, long_model, out)


@pytest.mark.parametrize("options", [{"workers": 0}, {"part_seconds": 0.5}, {"warm_up_seconds": 0.0}])
def test_options_out_of_range(options):
    with pytest.raises(ConfigError):
        BatchOptions(**options)


def die(video: SourceVideo, setup: Setup) -> None:
    os.environ["TEST"] = "1"
    import lsn.batch.stages

    def kill(_: SourceVideo) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    lsn.batch.stages.OpenVideo = kill
    read_clip(video, setup)


@pytest.mark.slow
def test_a_video_that_kills_its_workers_is_set_aside(archive, clip_model, tmp_path):
    (video,), setup = find_videos([str(archive / "a.mp4")]), Setup(clip_model, tmp_path / "journal")
    for _ in range(3):
        worker = multiprocessing.get_context("spawn").Process(target=die, args=(video, setup))
        worker.start()
        worker.join(120)
        assert worker.exitcode == -signal.SIGKILL
    row = read_clip(video, setup)
    assert row["status"] == "lost"
    assert "a.mp4: set aside, as 3 processes that read it died or hung" in row["error"]
    Journal(tmp_path / "journal").clear_notes()  # as the next run does
    assert "error" not in read_clip(video, setup)


@given(st.data())
def test_a_torn_journal_loses_no_more_than_its_last_record(tmp_path_factory, data):
    journal = Journal(tmp_path_factory.mktemp("journal"))
    writer = journal.writer()
    written = [Record(f"{number}.mp4", "1", "done", sha256=str(number), probabilities=[0.5]) for number in range(4)]
    sizes = []
    for record in written:
        writer.write(record)
        (path,) = (journal.folder / "records").iterdir()
        sizes.append(path.stat().st_size)
    length = data.draw(st.integers(0, sizes[-1]))
    with path.open("r+b") as file:
        file.truncate(length)
    whole = sum(size <= length for size in sizes)
    assert [record.path for record in journal.records()] == [record.path for record in written[:whole]]


def test_a_result_counts_more_than_a_failure_and_only_of_the_same_version():
    video = SourceVideo("a.mp4", "2")
    old = Record("a.mp4", "1", "done", sha256="x")
    failed, done = Record("a.mp4", "2", "unreadable", "broken"), Record("a.mp4", "2", "done", sha256="y")
    assert latest([old], [video]) == {}
    assert latest([old, failed, done, failed], [video]) == {"a.mp4": done}


def test_events_go_to_annotation_tools(here, archive, long_weights, tmp_path, capsys):
    from lsn.cli.app import main

    command = ["batch", str(archive), "--weights", str(long_weights), "--out", str(tmp_path / "out")]
    assert main([*command, "--format", "csv"]) == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "8 videos, 8 of them in this run, 3 failed" in printed
    manifest = read_timelines(tmp_path / "out/events.csv", root=".")
    assert len(manifest.videos) == 5
    assert sum(len(video.events) for video in manifest.videos) == len(rows(tmp_path / "out", "events"))
    assert set(manifest.labels) <= set(LABELS) - {"stay"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "csv"], "these weights are for clips, which have no events"),
        (["--fps", "5"], "are for models of long videos; these weights see clips"),
        (["--source-fps", "5"], "a batch takes folders of frames at 30 a second"),
    ],
)
def test_the_command_is_used_wrongly(options, said, archive, clip_weights, tmp_path, capsys):
    from lsn.cli.app import main

    assert main(["batch", str(archive), "--weights", str(clip_weights), "--out", str(tmp_path / "out"), *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
