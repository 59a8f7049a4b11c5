"""Batches: every video is accounted for once."""

import errno
import hashlib
import multiprocessing
import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_recognizer import LABELS, noisy_frames

from lsn.batch import BatchModel, BatchOptions, BatchProgress, run_batch
from lsn.batch.journal import Journal, Record, latest
from lsn.batch.parts import cut
from lsn.batch.reading import ClipRead, Failed, PartJob, Setup, Surveyed, done, read_clip, read_part
from lsn.batch.run import in_turns
from lsn.batch.sources import SourceVideo, find_videos
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
    model = clip_model if kind == "clip" else long_model
    options = BatchOptions() if kind == "clip" else BatchOptions(part_seconds=3)
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


def test_a_part_that_cannot_be_read_fails_its_video_and_copies_alone(here, archive, long_model, tmp_path, monkeypatch):
    (archive / "long_copy.mp4").write_bytes((archive / "long.mp4").read_bytes())

    def damaged(job, setup):
        if "long" in job.of.video.path.rpartition("/")[2] and job.part.number in (1, 2):
            return Failed(job.of.video, "unreadable", f"{job.of.video.path}: damaged at part {job.part.number}")
        return read_part(job, setup)

    monkeypatch.setattr("lsn.batch.run.read_part", damaged)
    result = run_batch([str(archive)], long_model, tmp_path / "out", options=BatchOptions(part_seconds=3))
    errors = {record.path: record.error for record in result.failures}
    for name in ("long.mp4", "long_copy.mp4"):
        assert errors[str(archive / name)] == f"{archive / name}: damaged at part 1"
    monkeypatch.setattr("lsn.batch.run.read_part", read_part)
    options = BatchOptions(part_seconds=3, retry_failed=True)
    result = run_batch([str(archive)], long_model, tmp_path / "out", options=options)
    assert sorted(record.path for record in result.failures) == [str(archive / name) for name in BAD]
    paths = {row["path"] for row in rows(tmp_path / "out", "events")}
    assert {str(archive / "long.mp4"), str(archive / "long_copy.mp4")} <= paths
    assert not list((tmp_path / "out/journal/parts").iterdir())


def test_the_parts_of_a_video_are_far_apart():
    def parts(name: str, number: int) -> list[PartJob]:
        video = Surveyed(SourceVideo(name, ""), name, 0.0, 1.0, number)
        return [PartJob(video, part, number) for part in cut(number, 1, num_warm_up=None)]

    videos = [parts("a", 3), parts("b", 1), parts("c", 2), parts("d", 4), *(parts(str(i), 1) for i in range(8))]
    order = [(job.of.sha256, job.part.number) for job in in_turns(videos, 2)]
    assert sorted(order) == sorted((job.of.sha256, job.part.number) for each in videos for job in each)
    long = [each for each in order if each[0] in "acd"]
    assert long == [("a", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2), ("d", 0), ("d", 1), ("d", 2), ("d", 3)]
    assert all(before[0] != after[0] for before, after in pairwise(order))


def test_a_damaged_part_is_answered_again(here, archive, long_model, tmp_path):
    options = BatchOptions(part_seconds=3)
    run_batch([str(archive / "long.mp4")], long_model, tmp_path / "whole", options=options)
    here.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        run_batch([str(archive / "long.mp4")], long_model, tmp_path / "out", options=options)
    (part, *_) = sorted((tmp_path / "out/journal/parts").rglob("000001.safetensors"))
    part.write_bytes(part.read_bytes()[:1000])
    here.stop_after = None
    run_batch([str(archive / "long.mp4")], long_model, tmp_path / "out", options=options)
    assert rows(tmp_path / "out", "events") == rows(tmp_path / "whole", "events")


@pytest.mark.parametrize("kind", ["clip", "long"])
def test_odd_names_folders_of_frames_and_what_is_no_file(kind, here, archive, clip_model, long_model, tmp_path):
    odd = os.fsdecode(bytes(archive / "a") + b"\xff\n.mp4")
    (archive / "a.mp4").rename(odd)
    os.mkfifo(archive / "pipe.mp4")
    for name, seed in (("one", 1), ("two", 2)):
        for number, frame in enumerate(noisy_frames(seed, num_frames=12).numpy()):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(frame).save(tmp_path / name / f"img_{number:05d}.jpg")
    (tmp_path / "list.txt").write_text("one\ntwo\nmissing\n")
    model = clip_model if kind == "clip" else long_model
    result = run_batch([str(archive), str(tmp_path / "list.txt")], model, tmp_path / "out")
    errors = {record.path: record.error for record in result.failures}
    assert errors[str(archive / "pipe.mp4")] == f"{archive / 'pipe.mp4'}: neither a file nor a folder of frames"
    assert errors.keys() == {str(archive / name) for name in (*BAD, "pipe.mp4")} | {str(tmp_path / "missing")}
    done = {row["path"]: row for row in rows(tmp_path / "out", "videos") if row["status"] == "done"}
    assert f"{archive}/a\\xff\n.mp4" in done
    if kind == "clip":
        answers = {row["path"]: row["probabilities"] for row in rows(tmp_path / "out", "predictions")}
        assert answers[str(tmp_path / "one")] != answers[str(tmp_path / "two")]
    assert done[str(tmp_path / "one")]["sha256"] != done[str(tmp_path / "two")]["sha256"]
    assert run_batch([str(archive), str(tmp_path / "list.txt")], model, tmp_path / "out").num_new == 0


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


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"part_seconds": 0.5}, {"part_seconds": float("inf")}, {"warm_up_seconds": 0.0}]
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError):
        BatchOptions(**options)


def test_options_that_do_not_go_with_a_model(here, archive, clip_model, long_model, tmp_path):
    with pytest.raises(ConfigError, match="are for long videos; these weights are for clips"):
        run_batch([str(archive)], clip_model, tmp_path / "out", options=BatchOptions(warm_up_seconds=3))
    with pytest.raises(ConfigError, match=r"a warm-up of 1e.06 seconds takes too much memory"):
        run_batch([str(archive)], long_model, tmp_path / "out", options=BatchOptions(warm_up_seconds=1e6))


def die(video: SourceVideo, setup: Setup) -> None:
    import lsn.batch.reading

    def kill(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    lsn.batch.reading.OpenVideo = kill
    read_clip(video, setup)


@pytest.mark.slow
def test_a_video_that_kills_its_workers_is_set_aside(archive, clip_model, tmp_path):
    journal = Journal(tmp_path / "journal", is_new=True)
    (video,) = find_videos([str(archive / "a.mp4")])
    setup = Setup(clip_model, journal.folder, tmp_path, frozenset(), 1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lsn.batch.reading"])
    for _ in range(3):
        worker = context.Process(target=die, args=(video, setup))
        worker.start()
        worker.join(120)
        assert worker.exitcode == -signal.SIGKILL
    found = read_clip(video, setup)
    assert isinstance(found, Failed)
    assert found.status == "lost"
    assert "a.mp4: set aside, as 3 processes that read it died or hung" in found.error
    journal.clear_notes()  # as the next run does
    assert isinstance(read_clip(video, setup), ClipRead)


def test_whatever_is_raised_while_a_video_is_read_is_its_failure_but_for_a_full_disk(
    archive, clip_model, tmp_path, monkeypatch
):
    journal = Journal(tmp_path / "journal", is_new=True)
    (video,), setup = find_videos([str(archive / "a.mp4")]), Setup(clip_model, journal.folder, tmp_path, frozenset(), 1)
    for error in (MemoryError("too large"), OSError(errno.ESTALE, "Stale file handle"), ValueError("odd")):
        monkeypatch.setattr("lsn.batch.reading.OpenVideo.sha256", raising(error))
        found = read_clip(video, setup)
        assert isinstance(found, Failed)
        assert found.error == f"{video.path}: {type(error).__name__} while it was read: {error}"
        done(found.note)
    monkeypatch.setattr("lsn.batch.reading.OpenVideo.sha256", raising(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        read_clip(video, setup)


def raising(error: Exception):
    def function(*_: object) -> None:
        raise error

    return function


def test_workers_that_do_not_see_the_folder_say_so(clip_model, tmp_path):
    with pytest.raises(DataError, match="must be a folder that all machines share"):
        Journal(tmp_path / "elsewhere")


@given(st.data())
def test_a_torn_journal_loses_no_more_than_its_last_record(tmp_path_factory, data):
    journal = Journal(tmp_path_factory.mktemp("journal"), is_new=True)
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
    later = Record("a.mp4", "2", "lost", "killed")
    assert latest([old], [video]) == {}
    assert latest([later, failed], [video]) == latest([failed, later], [video]) == {"a.mp4": later}
    assert latest([old, failed, done, later], [video]) == {"a.mp4": done}


def test_the_time_left_is_that_of_what_is_counted_now():
    at = BatchProgress("seconds of video", 300, 1000, 100, num_failed=0, seconds=999.0, workers=2, seconds_of_unit=50.0)
    assert (at.per_second, at.seconds_left) == (4.0, 700 / 4)
    assert replace(at, num_done=108).seconds_left is None, "too little is done"
    assert replace(at, num_done=109).seconds_left is not None


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
