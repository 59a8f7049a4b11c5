"""Shards: written as WebDataset reads them, read as manifests are, from this disk and from a web server."""

import functools
import gzip
import http.server
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from video_files import encode_pictures

from lsn.cli import main
from lsn.data import StepSampler, check_manifest, open_clip, parse_manifest, read_manifest
from lsn.data.clips.windows import shard_of
from lsn.data.frames.extraction import extract_manifests
from lsn.data.shards.write import write_shards
from lsn.errors import ConfigError, DataError, VideoError
from lsn.video import open_video
from lsn.video.decoding import archive

NUM_VIDEOS = 12


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """Twelve small videos of three classes and their manifest; one has two clips that differ in label."""
    folder = tmp_path_factory.mktemp("loose")
    rows = ["path,label,start_seconds,end_seconds,scene"]
    for number in range(NUM_VIDEOS):
        encode_pictures(folder / f"{number}.mp4", num_frames=8 + number, rate=10)
        rows.append(f"{number}.mp4,{'abc'[number % 3]},,,s{number // 4}")
    rows[1:2] = ["0.mp4,a,0,0.3,s0", "0.mp4,b,0.3,0.6,s0"]
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def shards(loose, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "out"
    size = sum(path.stat().st_size for path in loose.glob("*.mp4")) // 3
    done = write_shards([read_manifest(loose / "train.csv", group_column="scene")], out, max_bytes=size)
    assert (done.num_videos, done.num_found) == (NUM_VIDEOS, 0)
    assert done.num_shards == len(list(out.glob("train-*.tar"))) >= 3
    return out


@pytest.fixture
def served(shards, tmp_path, monkeypatch):
    """The address of a web server that has the shards, its folder, and the paths that were asked for."""
    folder = tmp_path / "served"
    shutil.copytree(shards, folder)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            asked.append((self.command, self.path))

    monkeypatch.setenv("LSN_CACHE_DIR", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder, asked
        server.shutdown()


def pictures(clip):
    with open_clip(clip) as video:
        return video.frames_at(range(video.num_frames)).frames_THWC


def fetched(asked):
    return [path for command, path in asked if command == "GET" and path.endswith(".tar")]


def test_the_clips_are_those_of_the_loose_files_in_their_order(loose, shards):
    expected = read_manifest(loose / "train.csv", group_column="scene")
    found = read_manifest(shards / "train.csv", group_column="group")
    assert found.labels == expected.labels
    for one, other in zip(expected.clips, found.clips, strict=True):
        assert (one.label, one.group, one.window) == (other.label, other.group, other.window)
        np.testing.assert_array_equal(pictures(other), pictures(one))
    assert check_manifest(found) == []


def test_webdataset_reads_them(loose, shards):
    webdataset = pytest.importorskip("webdataset")
    files = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = list(webdataset.WebDataset(files, shardshuffle=False))

    assert sorted(sample["mp4"] for sample in samples) == sorted(path.read_bytes() for path in loose.glob("*.mp4"))
    for sample in samples:
        (clip, *others) = json.loads(sample["json"])["clips"]
        assert sample["mp4"] == (loose / clip["file"]).read_bytes()
        if others:
            assert [other["label"] for other in (clip, *others)] == ["a", "b"] and "cls" not in sample
        else:
            assert "abc"[int(sample["cls"])] == clip["label"]


def test_folders_of_frames(loose, tmp_path):
    extract_manifests([read_manifest(loose / "train.csv")], tmp_path / "frames")
    expected = read_manifest(tmp_path / "frames/train.csv")

    write_shards([expected], tmp_path / "out", max_bytes=20_000)

    found = read_manifest(tmp_path / "out/train.csv")
    assert len({shard_of(clip) for clip in found.clips}) > 1
    for one, other in zip(expected.clips, found.clips, strict=True):
        np.testing.assert_array_equal(pictures(other), pictures(one))
    webdataset = pytest.importorskip("webdataset")
    names = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    sizes = [sum(key.endswith(".jpg") for key in sample) for sample in webdataset.WebDataset(names, shardshuffle=False)]
    assert sorted(sizes) == [8 + number for number in range(NUM_VIDEOS)]


def test_the_same_videos_give_the_same_bytes_and_what_is_there_is_kept(loose, shards, tmp_path):
    manifest = read_manifest(loose / "train.csv", group_column="scene")
    size = sum(path.stat().st_size for path in loose.glob("*.mp4")) // 3
    shutil.copytree(shards, tmp_path / "out")
    (tmp_path / "out/train-00001.tar").unlink()
    (tmp_path / "out/train.csv").unlink()

    done = write_shards([manifest], tmp_path / "out", max_bytes=size)

    assert done.num_found == done.num_shards - 1
    for path in shards.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(DataError, match="written from other videos, or in another size or order"):
        write_shards([manifest], tmp_path / "out", max_bytes=size, seed=1)


@pytest.mark.slow
def test_a_killed_call_can_be_repeated(loose, tmp_path):
    for number in range(300):  # enough for a kill in the middle
        (tmp_path / "many").mkdir(exist_ok=True)
        shutil.copy(loose / "11.mp4", tmp_path / f"many/{number}.mp4")
    (tmp_path / "all.csv").write_text("path,label\n" + "".join(f"many/{n}.mp4,{n % 2}a\n" for n in range(300)))
    call = (
        "import sys; from lsn.data import read_manifest; from lsn.data.shards.write import write_shards\n"
        "write_shards([read_manifest(sys.argv[1])], sys.argv[2], max_bytes=20_000)"
    )
    command = [sys.executable, "-c", call, str(tmp_path / "all.csv"), str(tmp_path / "out")]
    process = subprocess.Popen(command)
    while len(list((tmp_path / "out").glob("all-*.tar"))) < 5 and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out/all.csv").exists()

    done = write_shards([read_manifest(tmp_path / "all.csv")], tmp_path / "out", max_bytes=20_000)
    undisturbed = write_shards([read_manifest(tmp_path / "all.csv")], tmp_path / "other", max_bytes=20_000)

    assert done.num_found >= 5 and done.num_shards == undisturbed.num_shards
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "other").iterdir()
    }


@pytest.mark.parametrize(("buffer_size", "num_processes"), [(1, 1), (7, 1), (40, 2), (1000, 3)])
def test_each_clip_comes_once_and_few_shards_are_in_use(buffer_size, num_processes):
    shards = [f"s{clip % 20}" for clip in range(400)]
    random.Random(0).shuffle(shards)
    samplers = [
        StepSampler(
            400, batch_size=4, rank=rank, num_processes=num_processes, shards=shards, shuffle_buffer=buffer_size
        )
        for rank in range(num_processes)
    ]
    orders = []
    for epoch in range(2):
        steps = zip(*(sampler.steps(epoch) for sampler in samplers), strict=True)
        orders.append([clip for step in steps for of_rank in step for batch in of_rank.batches for clip in batch])
        assert sorted(orders[-1]) == list(range(400))
        assert all(sampler.steps(epoch) == replace(sampler).steps(epoch) for sampler in samplers)
        first_at, last_at = {}, {}
        for position, clip in enumerate(orders[-1]):
            first_at.setdefault(shards[clip], position)
            last_at[shards[clip]] = position
        in_use = max(sum(first_at[s] <= at <= last_at[s] for s in first_at) for at in range(400))
        if buffer_size <= 7:
            assert in_use <= 9, in_use  # a clip waits long in the buffer by chance
        if buffer_size == 1000:
            assert in_use > 15
    assert orders[0] != orders[1]


def test_without_a_buffer_the_order_does_not_know_of_shards():
    one = StepSampler(50, batch_size=4, seed=3)
    assert replace(one, shards=["a", "b"] * 25).steps(5) == one.steps(5)


def test_from_a_web_server(served, shards):
    pytest.importorskip("aiohttp")
    address, _, asked = served
    expected = read_manifest(shards / "train.csv")

    found = read_manifest(f"{address}/train.csv")

    assert found.source == f"{address}/train.csv" and check_manifest(found) == []
    for _ in range(2):
        for one, other in zip(expected.clips, found.clips, strict=True):
            assert other.path.startswith(address)
            np.testing.assert_array_equal(pictures(other), pictures(one))
    assert Counter(fetched(asked)) == {f"/{path.name}": 1 for path in shards.glob("*.tar")}


def test_copies_go_when_their_space_is_needed(served, shards, tmp_path, monkeypatch, caplog):
    pytest.importorskip("aiohttp")
    address, _, asked = served
    clips = {shard_of(clip): clip for clip in read_manifest(f"{address}/train.csv").clips}
    first, second, third, *_, last = clips.values()
    most = sum((shards / Path(shard_of(clip)).name).stat().st_size for clip in (first, second, third)) - 1
    monkeypatch.setenv("LSN_CACHE_GB", str(most / 1e9))

    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/thesis.mp4").write_bytes(bytes(most))
    for clip in (first, second, first, third, first):  # the second was not used for longest when the third came
        pictures(clip)
        copies = list((tmp_path / "cache/remote").glob("*.tar"))
        assert sum(path.stat().st_size for path in copies) <= most
    assert fetched(asked).count(f"/{Path(shard_of(first)).name}") == 1
    pictures(second)
    assert fetched(asked).count(f"/{Path(shard_of(second)).name}") == 2
    assert "is fetched again, as copies of remote files may take up" in caplog.text
    assert (tmp_path / "cache/thesis.mp4").exists()  # somebody else's
    monkeypatch.setenv("LSN_CACHE_GB", "1e-6")
    with pytest.raises(DataError, match=r"copies of remote files may take up 1e-06 GB together; set .*LSN_CACHE_GB"):
        pictures(last)


@pytest.mark.slow
def test_processes_share_one_copy_and_a_changed_file_is_fetched_again(served, tmp_path):
    pytest.importorskip("aiohttp")
    address, folder, asked = served
    call = (
        "import sys; from lsn.data import read_manifest, open_clip\n"
        "for clip in read_manifest(sys.argv[1]).clips:\n    open_clip(clip).close()"
    )
    command = [sys.executable, "-c", call, f"{address}/train.csv"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert set(Counter(fetched(asked)).values()) == {1}

    changed = min(folder.glob("*.tar"))
    changed.write_bytes(changed.read_bytes() + bytes(512))
    subprocess.run(command, check=True)
    assert fetched(asked).count(f"/{changed.name}") == 2
    assert len(fetched(asked)) == len(list(folder.glob("*.tar"))) + 1


def test_a_server_without_the_file_and_one_that_is_gone(served, tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    address, folder, _ = served
    with pytest.raises(DataError, match=rf"{address}/other.csv: no such file"):
        read_manifest(f"{address}/other.csv")
    manifest = read_manifest(f"{address}/train.csv")
    for path in folder.glob("*.tar"):
        path.unlink()
    with pytest.raises(VideoError, match=r"train-0000\d.tar: no such file"):
        open_clip(manifest.clips[0])
    monkeypatch.setattr("lsn.remote._WAITS", (0.0, 0.0))
    with pytest.raises(DataError, match=r"127.0.0.1:1/a.tar: cannot be fetched"):
        open_clip(replace(manifest.clips[0], path="http://127.0.0.1:1/a.tar/7.mp4"))
    with pytest.raises(DataError, match=r"\[abc/x.csv: cannot be fetched .*Invalid IPv6 URL"):
        read_manifest("http://[abc/x.csv")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LSN_CACHE_DIR", str(tmp_path / "file"))
    (folder / "c.tar").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"file/remote: copies .* cannot be kept there .*LSN_CACHE_DIR"):
        open_clip(replace(manifest.clips[0], path=f"{address}/c.tar/7.mp4"))
    monkeypatch.setenv("LSN_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("LSN_CACHE_GB", "much")
    shutil.copytree(folder, tmp_path / "x", dirs_exist_ok=True)
    (folder / "b.tar").write_bytes(b"x")
    with pytest.raises(ConfigError, match="LSN_CACHE_GB is 'much'; expected a number of gigabytes above 0"):
        open_clip(replace(manifest.clips[0], path=f"{address}/b.tar/7.mp4"))


def test_archives_that_cannot_be_read(shards, tmp_path):
    whole = min(shards.glob("*.tar")).read_bytes()
    name = next(Path(clip.path).name for clip in read_manifest(shards / "train.csv").clips if "00000.tar" in clip.path)
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "packed.tar").write_bytes(gzip.compress(whole))
    (tmp_path / "text.tar").write_text("not a tar")
    (tmp_path / "whole.tar").write_bytes(whole)
    (tmp_path / "folder.tar").mkdir()
    encode_pictures(tmp_path / "folder.tar/1.mp4", num_frames=3)

    for file in ("cut", "packed", "text"):
        with pytest.raises(VideoError, match=rf"{file}.tar: not an intact tar file .*unpack it, or fetch it again"):
            open_video(tmp_path / f"{file}.tar" / name)
    with pytest.raises(VideoError, match=r"whole.tar: holds no 'nothing.mp4'"):
        open_video(tmp_path / "whole.tar/nothing.mp4")
    assert open_video(tmp_path / "folder.tar/1.mp4").num_frames == 3
    (tmp_path / "list.csv").write_text(f"path,label\nwhole.tar/{name},a\nwhole.tar/nothing.mp4,a\ncut.tar/{name},a\n")
    (problem, *_) = check_manifest(read_manifest(tmp_path / "list.csv"))
    assert "cut.tar: not an intact tar file" in problem.message
    (tmp_path / "list.csv").write_text(f"path,label\nwhole.tar/{name},a\nwhole.tar/nothing.mp4,a\n")
    (problem,) = check_manifest(read_manifest(tmp_path / "list.csv"))
    assert "1 of 2 files are missing, first" in problem.message and "nothing.mp4" in problem.message


def test_a_list_from_an_address_does_not_make_this_machine_read_its_own_files(served, loose):
    pytest.importorskip("aiohttp")
    address, folder, _ = served
    (folder / "evil.csv").write_text(f"path,label\n{loose}/1.mp4,a\nfile://{loose}/1.mp4,a\ntrain-00000.tar/1.mp4,a\n")
    manifest, problems = parse_manifest(f"{address}/evil.csv?token=a/b")
    assert [problem.where for problem in problems] == [f"{address}/evil.csv?token=a/b line {line}" for line in (2, 3)]
    assert all("set data.root if it is meant to be read" in problem.message for problem in problems)
    assert manifest.clips[2].path == f"{address}/train-00000.tar/1.mp4"


def test_a_server_that_fails_once_is_asked_again(served, monkeypatch):
    pytest.importorskip("aiohttp")
    address, _, _ = served
    monkeypatch.setattr("lsn.remote._WAITS", (0.0, 0.0))
    sent, failures = http.server.SimpleHTTPRequestHandler.do_GET, [1, 1]

    def fail_sometimes(self):
        if failures and self.path.endswith(".tar"):
            failures.pop()
            return self.send_error(503)
        return sent(self)

    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "do_GET", fail_sometimes)
    assert len(pictures(read_manifest(f"{address}/train.csv").clips[0])) > 0 and not failures


def test_an_archive_is_looked_through_once(shards, monkeypatch):
    looked = []
    opened = archive.tarfile.open
    monkeypatch.setattr(archive.tarfile, "open", lambda path, mode: looked.append(path) or opened(path, mode))
    monkeypatch.setattr(archive, "_indices", archive._Indices())
    for _ in range(2):
        for clip in read_manifest(shards / "train.csv").clips:
            open_clip(clip).close()
    assert sorted(looked) == sorted(shards.glob("*.tar"))


def test_one_numbering_of_labels_and_no_clip_in_two_splits(loose, tmp_path):
    (tmp_path / "one.csv").write_text(
        "".join(["path,label\n", *(f"{loose}/{n}.mp4,{'abc'[n % 3]}\n" for n in range(6))])
    )
    (tmp_path / "two.csv").write_text(f"path,label\n{loose}/6.mp4,a\n{loose}/8.mp4,c\n")
    assert (
        main(["data", "shard", str(tmp_path / "one.csv"), str(tmp_path / "two.csv"), "--out", str(tmp_path / "out")])
        == 0
    )
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset([str(tmp_path / "out/two-00000.tar")], shardshuffle=False))
    numbers = {json.loads(sample["json"])["clips"][0]["label"]: int(sample["cls"]) for sample in samples}
    assert numbers == {"a": 0, "c": 2}
    (tmp_path / "two.csv").write_text(f"path,label\n{loose}/6.mp4,a\n{loose}/1.mp4,b\n")
    manifests = [read_manifest(tmp_path / f"{name}.csv", labels=["a", "b", "c"]) for name in ("one", "two")]
    with pytest.raises(DataError, match=r"1 clip of two also in one, first .*1.mp4"):
        write_shards(manifests, tmp_path / "other")
    with pytest.raises(DataError, match="its labels differ from those of"):
        write_shards([manifests[0], read_manifest(tmp_path / "two.csv")], tmp_path / "other")


def test_what_cannot_be_packed(loose, shards, tmp_path):
    manifest = read_manifest(loose / "train.csv")
    with pytest.raises(ConfigError, match="shards of 0 bytes"):
        write_shards([manifest], tmp_path / "out", max_bytes=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note.txt").write_text("mine")
    with pytest.raises(DataError, match=r"is not empty and holds no shards.json; choose a new folder"):
        write_shards([manifest], tmp_path / "full")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/shards.json").write_text('{"vers')
    with pytest.raises(DataError, match=r"torn/shards.json: not the record of shards"):
        write_shards([manifest], tmp_path / "torn")
    with pytest.raises(DataError, match="manifests of the same name"):
        write_shards([manifest, manifest], tmp_path / "out")
    with pytest.raises(DataError, match="is remote or in a shard already"):
        write_shards([read_manifest(shards / "train.csv")], tmp_path / "out")
    (tmp_path / "gone.csv").write_text("path,label\nnowhere.mp4,a\n")
    with pytest.raises(DataError, match=r"gone.csv line 2: 1 of 1 files are missing, first .*nowhere.mp4"):
        write_shards([read_manifest(tmp_path / "gone.csv")], tmp_path / "out")
    assert not (tmp_path / "out").exists()
