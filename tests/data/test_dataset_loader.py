"""Samples and batches: the same for any number of workers, and failures that say what failed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from fractions import Fraction
from multiprocessing import forkserver

import numpy as np
import pytest
import torch

from lsn.data import Clip, ClipDataset, Manifest, make_loader
from lsn.data.loading.loader import load_steps
from lsn.data.loading.step_sampler import Step
from lsn.errors import ConfigError, DataError, VideoError
from lsn.video import VideoReader, write_video

NUM_CLIPS = 7

# A program that reads with two workers, says so, and waits for the end of its input. Whoever reads its output sees
# its end only when the last process that it started is gone.
READING = """
import signal, sys, torch
from lsn.data import Clip, ClipDataset, Manifest, make_loader

def one_number(video, label, rng):
    return torch.zeros(1, 1, 1, 1, 1), label

if __name__ == "__main__":
    manifest = Manifest("train.csv", ("a",), (Clip(sys.argv[1], "a"),))
    loader = make_loader(ClipDataset(manifest, one_number), indices=[0] * 20, batch_size=1, num_workers=2)
    if sys.argv[2] == "read":
        batches = iter(loader)
        next(batches)
    signal.signal(signal.SIGINT, lambda *_: None)
    print("ready", flush=True)
    sys.stdin.read()
"""


def random_view(video: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
    """One random frame as a view (1, 1, 3, 1, 1): its mean colour, and a number drawn by the sample itself."""
    frame_HWC = video.frames_at([rng.randrange(video.num_frames)]).frames_THWC[0]
    view_VTCHW = torch.from_numpy(frame_HWC).float().mean((0, 1)).reshape(1, 1, 3, 1, 1)
    view_VTCHW[..., 2, :, :] = rng.random()
    return view_VTCHW, label


def threads_view(video: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
    """Torch's threads and the process that reads, as a view."""
    return torch.tensor([torch.get_num_threads(), os.getpid()], dtype=torch.float64).reshape(1, 1, 2, 1, 1), label


def first_times(video: VideoReader) -> torch.Tensor:
    """When the first two frames are shown."""
    return torch.from_numpy(video.pts_seconds[:2])


def buggy_view(video: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
    raise RuntimeError("a bug in the views")


def deadly_view(video: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class Sleepy:
    """Views that take longer for clips of label 1, so that workers finish out of order."""

    def __call__(self, video: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
        time.sleep(0.3 * label)
        return random_view(video, label, rng)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    clips = []
    for i in range(NUM_CLIPS):
        frames = np.full((12, 16, 16, 3), 20 * i, np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None, None]
        write_video(folder / f"{i}.mp4", frames, fps=Fraction(10))
        clips.append(Clip(str(folder / f"{i}.mp4"), "ab"[i % 2], line=i + 2))
    return Manifest("train.csv", ("a", "b"), tuple(clips))


@pytest.fixture(scope="module")
def broken(manifest, tmp_path_factory):
    """The same with clip 3 not being a video."""
    path = tmp_path_factory.mktemp("broken") / "bad.mp4"
    path.write_text("not a video")
    clips = list(manifest.clips)
    clips[3] = Clip(str(path), "b", line=5)
    return Manifest("train.csv", manifest.labels, tuple(clips))


def views_by_index(loader) -> dict[int, list[float]]:
    result = {}
    for batch in loader:
        for index, label, views in zip(
            batch.indices_B.tolist(), batch.labels_B.tolist(), batch.views_BVTCHW, strict=True
        ):
            result[index] = [label, *views.flatten().tolist()]
    return result


def test_sample(manifest):
    sample = ClipDataset(manifest, random_view)[3]
    assert (sample.index, sample.label, sample.error) == (3, 1, None)
    assert sample.views_VTCHW.shape == (1, 1, 3, 1, 1)
    assert 55 <= sample.views_VTCHW[0, 0, 0, 0, 0] <= 76


def test_randomness_depends_on_seed_epoch_and_index_alone(manifest):
    def draws(seed: int = 0, epoch: int = 0, order=range(NUM_CLIPS)) -> dict[int, float]:
        dataset = ClipDataset(manifest, random_view, seed=seed)
        dataset.set_epoch(epoch)
        random.seed(os.getpid())
        return {index: dataset[index].views_VTCHW[0, 0, 2, 0, 0].item() for index in order}

    assert draws() == draws(order=reversed(range(NUM_CLIPS)))
    assert len(set(draws().values())) == NUM_CLIPS
    assert not set(draws().values()) & set(draws(epoch=1).values())
    assert not set(draws().values()) & set(draws(seed=1).values())


def test_workers_and_batch_size_do_not_change_what_is_read(manifest):
    dataset = ClipDataset(manifest, random_view)
    results = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for batch_size, num_workers in ((3, 0), (2, 2)):
            loader = make_loader(dataset, indices=range(NUM_CLIPS), batch_size=batch_size, num_workers=num_workers)
            results.append(views_by_index(loader))
    assert results[0] == results[1]
    assert results[2] == results[3]
    assert results[0] != results[2]


def test_a_loader_iterated_again_reads_the_new_epoch(manifest):
    dataset = ClipDataset(manifest, random_view)
    loader = make_loader(dataset, indices=[0, 1], batch_size=2, num_workers=1)
    first = views_by_index(loader)
    dataset.set_epoch(1)
    second = views_by_index(loader)
    assert second != first
    assert second == views_by_index(make_loader(dataset, indices=[0, 1], batch_size=2, num_workers=0))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_order_and_last_batch(manifest, num_workers):
    order = [5, 1, 1, 6, 0]
    loader = make_loader(ClipDataset(manifest, Sleepy()), indices=order, batch_size=2, num_workers=num_workers)
    assert len(loader) == 3
    batches = list(loader)
    assert [batch.indices_B.tolist() for batch in batches] == [[5, 1], [1, 6], [0]]
    assert [batch.labels_B.tolist() for batch in batches] == [[1, 1], [1, 0], [0]]
    assert batches[0].views_BVTCHW.shape == (2, 1, 1, 3, 1, 1)
    assert batches[0].labels_B.dtype == torch.int64
    assert all(batch.unreadable == [] for batch in batches)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_batches_of_a_step_come_together(manifest, num_workers):
    steps = [Step(((4,), ()), num_clips=2), Step(((2, 0, 1), (5, 3)), num_clips=5), Step(((),), num_clips=1)]
    loaded = load_steps(ClipDataset(manifest, random_view), steps, num_workers=num_workers)
    found = [[batch.indices_B.tolist() for batch in batches] for batches in loaded]
    assert found == [[[4], []], [[2, 0, 1], [5, 3]], [[]]]


def test_a_process_without_clips_starts_no_worker(manifest):
    loaded = load_steps(ClipDataset(manifest, random_view), [Step(((),), num_clips=1)], num_workers=2)
    (batch,) = next(loaded)
    assert (batch.views_BVTCHW, batch.labels_B.tolist()) == (None, [])
    assert multiprocessing.active_children() == []


def test_steps_that_are_closed_leave_no_worker(manifest):
    steps = [Step(((index,),), num_clips=1) for index in range(NUM_CLIPS)]
    loaded = load_steps(ClipDataset(manifest, random_view), steps, num_workers=2)
    next(loaded)
    assert multiprocessing.active_children() != []
    loaded.close()
    assert multiprocessing.active_children() == []


def test_no_indices(manifest):
    assert list(make_loader(ClipDataset(manifest, random_view), indices=[], batch_size=2, num_workers=0)) == []


def test_reading_leaves_torchs_generator_alone(manifest):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(make_loader(ClipDataset(manifest, random_view), indices=[0, 1], batch_size=1, num_workers=0))
    assert torch.equal(torch.rand(3), expected)


def test_workers_are_other_processes_with_one_thread(manifest):
    loader = make_loader(ClipDataset(manifest, threads_view), indices=[0, 1, 2], batch_size=1, num_workers=2)
    seen = torch.cat([batch.views_BVTCHW.flatten(1) for batch in loader])
    assert seen[:, 0].tolist() == [1, 1, 1]
    processes = set(seen[:, 1].tolist())
    assert len(processes) == 2
    assert os.getpid() not in processes


class TestUnreadable:
    def test_sample_carries_the_error(self, broken):
        sample = ClipDataset(broken, random_view)[3]
        assert sample.views_VTCHW is None
        assert str(sample.error).startswith("train.csv line 5: ")
        assert "bad.mp4" in str(sample.error)

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_raise_names_the_clip_its_line_and_the_way_out(self, broken, num_workers):
        loader = make_loader(
            ClipDataset(broken, random_view), indices=range(NUM_CLIPS), batch_size=2, num_workers=num_workers
        )
        seen = []
        with pytest.raises(VideoError) as caught:
            for batch in loader:
                seen += batch.indices_B.tolist()
        message = str(caught.value)
        assert seen == [0, 1]
        assert type(caught.value) is VideoError
        assert message.startswith("train.csv line 5: ")
        assert "bad.mp4" in message
        assert "data.on_unreadable=skip" in message
        assert "\n" not in message
        assert "Traceback" not in message
        assert multiprocessing.active_children() == []

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_skip_leaves_out_counts_and_lists(self, broken, num_workers, caplog):
        dataset = ClipDataset(broken, random_view, on_unreadable="skip")
        loader = make_loader(dataset, indices=[2, 3, 3, 4], batch_size=2, num_workers=num_workers)
        batches = list(loader)
        assert [batch.indices_B.tolist() for batch in batches] == [[2], [4]]
        assert [[index for index, _ in batch.unreadable] for batch in batches] == [[3], [3]]
        assert list(dataset.unreadable) == [3]
        assert [record.getMessage() for record in caplog.records] == [f"left out: {dataset.unreadable[3]}"]

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_times_come_with_the_clips_that_can_be_read_if_asked_for(self, broken, num_workers):
        dataset = ClipDataset(broken, random_view, make_times=first_times, on_unreadable="skip")
        loader = make_loader(dataset, indices=[2, 3, 4, 3], batch_size=2, num_workers=num_workers)
        one, two = (batch.seconds_BT for batch in loader)
        assert one is not None and two is not None
        assert one.shape == two.shape == (1, 2)
        assert one[0, 0] == 0 < one[0, 1]
        (nothing,) = make_loader(dataset, indices=[3], batch_size=1, num_workers=0)
        assert nothing.seconds_BT is None
        (unasked,) = make_loader(ClipDataset(broken, random_view), indices=[2], batch_size=1, num_workers=0)
        assert unasked.seconds_BT is None

    def test_batch_of_unreadable_clips_only(self, broken):
        dataset = ClipDataset(broken, random_view, on_unreadable="skip")
        (batch,) = make_loader(dataset, indices=[3], batch_size=2, num_workers=0)
        assert batch.views_BVTCHW is None
        assert batch.labels_B.tolist() == []
        assert len(batch.unreadable) == 1


class TestProcesses:
    @pytest.fixture
    def start(self, manifest, tmp_path):
        """Starts the program, which is `ready` when it has read a batch, or only made its loader."""
        (tmp_path / "reading.py").write_text(READING)
        started = []

        def start(what: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, tmp_path / "reading.py", manifest.clips[0].path, what],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            started.append(process)
            assert process.stdout.readline() == "ready\n"
            return process

        yield start
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @pytest.mark.slow
    def test_none_outlives_a_main_process_that_is_killed(self, start):
        process = start("read")
        process.kill()
        process.communicate(timeout=60)

    @pytest.mark.slow
    def test_ctrl_c_while_they_start_says_nothing(self, start):
        process = start("make the loader")
        for _ in range(10):  # some of them while modules are imported, which takes a second or more
            time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        assert process.communicate(timeout=60) == ("", "")


class TestFailures:
    @pytest.mark.slow
    def test_a_killed_worker_is_an_error_and_no_hang(self, manifest):
        loader = make_loader(ClipDataset(manifest, deadly_view), indices=[0, 1], batch_size=1, num_workers=1)
        with pytest.raises(DataError, match=r"a process that reads videos died.*data\.num_workers"):
            list(loader)

    @pytest.mark.slow
    def test_a_killed_worker_server_is_an_error_with_a_remedy(self, manifest, monkeypatch):
        """Whenever it is killed: before it listens, or while it is asked for a worker."""
        start_worker = forkserver.connect_to_new_process

        def kill_and_start(fds):
            forkserver.ensure_running()
            os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
            with monkeypatch.context() as context:
                context.setattr(forkserver._forkserver, "ensure_running", lambda: None)  # it has just looked
                return start_worker(fds)

        loader = make_loader(ClipDataset(manifest, random_view), indices=[0, 1], batch_size=1, num_workers=1)
        monkeypatch.setattr(forkserver, "connect_to_new_process", kill_and_start)
        with pytest.raises(DataError, match=r"the server that starts them died .* data\.num_workers=0"):
            list(loader)
        monkeypatch.undo()
        # Until it is seen to be gone, Python takes it for the one that is running.
        os.waitid(os.P_PID, forkserver._forkserver._forkserver_pid, os.WEXITED | os.WNOWAIT)
        assert len(list(loader)) == 2

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_what_is_not_the_videos_fault_is_never_skipped(self, num_workers):
        clip = Clip(".", "a", line=2, frame_pattern="img.jpg")
        dataset = ClipDataset(Manifest("m.csv", ("a",), (clip,)), random_view, on_unreadable="skip")
        with pytest.raises(ConfigError, match=r"^m\.csv line 2: frame pattern 'img\.jpg'.*$"):
            list(make_loader(dataset, indices=[0], batch_size=1, num_workers=num_workers))

    def test_a_decoder_that_is_not_installed_is_no_clips_fault(self, manifest, monkeypatch):
        monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
        dataset = ClipDataset(manifest, random_view, reader="torchcodec", on_unreadable="skip")
        with pytest.raises(ConfigError, match=r"pip install 'lsn-video\[fast\]'"):
            list(make_loader(dataset, indices=[0], batch_size=1, num_workers=0))

    def test_unknown_label_is_refused_before_reading(self):
        with pytest.raises(DataError, match="unknown label 'aa'; did you mean 'a'"):
            ClipDataset(Manifest("m.csv", ("a",), (Clip("x.mp4", "aa"),)), random_view)

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_a_bug_stays_a_bug(self, manifest, num_workers):
        loader = make_loader(ClipDataset(manifest, buggy_view), indices=[0], batch_size=1, num_workers=num_workers)
        with pytest.raises(RuntimeError, match="a bug in the views"):
            list(loader)
