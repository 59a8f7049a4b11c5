"""Files appear whole or not at all, what killed writers left is used again, and no input is written over."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from lsn.errors import ConfigError, DataError
from lsn.files import atomic_path, check_outputs, held_lock, new_folder, read_bytes, write_text

WRITER = """
import sys, time
from pathlib import Path
from lsn.files import atomic_path, new_folder
with {maker}(sys.argv[1]) as partial:
    Path(partial, "half").write_text("half") if {maker} is new_folder else partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def killed_writer(path, maker):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(maker=maker), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("maker", [atomic_path, new_folder])
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path, maker):
    process = killed_writer(tmp_path / "out.txt", maker.__name__)
    process.kill()
    process.wait()
    assert [entry.name for entry in tmp_path.iterdir()] == [
        ".out.partial.txt" if maker is atomic_path else ".out.txt.partial"
    ]
    with maker(tmp_path / "out.txt") as partial:
        assert not (partial.read_text() if partial.is_file() else list(partial.iterdir()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("maker", [atomic_path, new_folder])
def test_what_another_process_still_writes_is_left_alone(tmp_path, maker):
    process = killed_writer(tmp_path / "out.txt", maker.__name__)
    try:
        with maker(tmp_path / "out.txt") as partial:
            half = next(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)
            assert half.read_text() == "half"
            assert partial not in (half, *half.parents)
        assert half.read_text() == "half"
    finally:
        process.kill()
        process.wait()


def write_many(path, number):
    for _ in range(200):
        write_text(path, str(number) * 5000)


def test_writers_of_one_file_at_once_leave_it_whole_and_nothing_else(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(tmp_path / "a.txt", number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    text = (tmp_path / "a.txt").read_text()
    assert len(text) == 5000 and len(set(text)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(KeyError), atomic_path(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise KeyError
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["before"]


def test_a_full_disk_is_reported_with_the_file(tmp_path):
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_names_that_are_not_unicode_are_written_as_they_are(tmp_path):
    write_text(tmp_path / "a.txt", "caf\udce9\n")
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xe9\n"


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    code = "import sys, time; from pathlib import Path; from lsn.files import held_lock\n"
    code += "with held_lock(Path(sys.argv[1])) as held: print(held, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    with held_lock(path) as held:
        assert not held
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with held_lock(path) as held:
        assert held


def test_an_output_is_no_input_by_whatever_name(tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"video")
    (tmp_path / "soft.mp4").symlink_to(video)
    (tmp_path / "hard.mp4").hardlink_to(video)
    (tmp_path / "folder").mkdir()
    for name in ("clip.mp4", "soft.mp4", "hard.mp4", "folder/../clip.mp4"):
        with pytest.raises(ConfigError, match=r"would be written over .*clip\.mp4, which is read"):
            check_outputs([None, tmp_path / name], ["rtsp://camera", "0", None, video])
    with pytest.raises(ConfigError, match=r"new\.mp4: two outputs"):
        check_outputs([tmp_path / "new.mp4", tmp_path / "folder/../new.mp4"], [video])
    (tmp_path / "folder/1.jpg").touch()
    with pytest.raises(ConfigError, match=r"1\.jpg: would be written over .*folder, which is read"):
        check_outputs([tmp_path / "folder/1.jpg"], [tmp_path / "folder"])
    check_outputs([tmp_path / "folder/new.jpg"], [tmp_path / "folder"])
    check_outputs([tmp_path / "a.mp4", tmp_path / "b.mp4"], [video, "rtsp://camera", "nul\0"])
    assert video.read_bytes() == b"video"


def test_only_regular_files_of_a_sane_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(101))
    for path, words in (
        ("/dev/zero", "device or a pipe"),
        (tmp_path / "pipe", "device or a pipe"),
        (tmp_path, "is a folder"),
        (tmp_path / "large", "101 bytes, but a labels file has at most 100"),
        (tmp_path / "none", "no such labels file"),
        ("nul\0", "cannot read this labels file"),
    ):
        start = time.monotonic()
        with pytest.raises(DataError, match=words):
            read_bytes(path, "labels file", error=DataError, max_bytes=100)
        assert time.monotonic() - start < 10
