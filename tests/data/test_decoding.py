"""Clips decoded to their last frame, and the record of what was decoded."""

import json
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image
from video_files import encode_pictures

from lsn.data import Clip, Manifest
from lsn.data.clips.decoding import damage_problems, damaged_clips
from lsn.errors import DataError


@pytest.fixture
def manifest(tmp_path):
    """Six clips: the third is cut off, the fourth no video, the fifth missing, the last outside of its file."""
    paths = [tmp_path / f"{number}.mp4" for number in range(5)]
    for path in paths[:3]:
        encode_pictures(path, num_frames=30)
    paths[2].write_bytes(paths[2].read_bytes()[:-1500])
    paths[3].write_text("no video")
    clips = [Clip(str(path), "a", line=number + 2) for number, path in enumerate(paths)]
    return Manifest("m.csv", ("a",), (*clips, Clip(str(paths[0]), "a", first_frame=20, last_frame=40, line=7)))


def test_what_is_damaged_and_how(manifest):
    counts = []
    found = damaged_clips(manifest, progress=lambda done, total: counts.append((done, total)))
    assert counts == [(done, 6) for done in range(1, 7)]
    problems = damage_problems(found, manifest)
    assert [(problem.severity, problem.where) for problem in problems] == [
        ("error", f"m.csv line {line}") for line in (4, 5, 7)
    ]
    assert "2.mp4" in problems[0].message and "3.mp4: not a video file" in problems[1].message
    assert "the window of frames 20 to 40 is outside its 30 frames" in problems[2].message


def test_what_is_in_the_record_is_not_decoded_again_unless_the_file_has_changed(manifest, tmp_path):
    record = tmp_path / "decoded.jsonl"
    expected = damaged_clips(manifest, record=record)
    assert len(record.read_text().splitlines()) == 2  # what is missing or damaged is looked at again
    whole, about = tmp_path / "1.mp4", (tmp_path / "1.mp4").stat()
    content = whole.read_bytes()
    whole.write_bytes(bytes(len(content)))
    os.utime(whole, ns=(about.st_atime_ns, about.st_mtime_ns))

    assert damaged_clips(manifest, record=record) == expected  # as nothing shows the change

    os.utime(whole, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert [each.clip.line for each in damaged_clips(manifest, record=record)] == [3, 4, 5, 7]
    encode_pictures(tmp_path / "4.mp4", num_frames=3)
    whole.write_bytes(content)
    assert damaged_clips(manifest, record=record) == expected == damaged_clips(manifest)
    encode_pictures(tmp_path / "3.mp4", num_frames=3)
    assert [each.clip.line for each in damaged_clips(manifest, record=record)] == [4, 7]


def test_a_frame_that_is_damaged_later_is_found(tmp_path):
    for number in range(3):
        Image.new("RGB", (16, 16), (80 * number, 0, 0)).save(tmp_path / f"img_{number}.jpg")
    frames = Manifest("m.csv", ("a",), (Clip(str(tmp_path), "a", line=2),))
    record = tmp_path.with_suffix(".jsonl")
    assert damaged_clips(frames, record=record) == []
    (tmp_path / "img_1.jpg").write_bytes(b"\xff\xd8\xff broken")
    assert "img_1.jpg: a broken image" in damaged_clips(frames, record=record)[0].error
    Image.new("RGB", (16, 16)).save(tmp_path / "img_1.jpg")
    assert damaged_clips(frames, record=record) == []


@pytest.mark.slow
def test_a_killed_call_is_resumed(manifest, tmp_path):
    record = tmp_path / "decoded.jsonl"
    call = (
        "import os, signal, sys; from pathlib import Path; from lsn.data import read_manifest\n"
        "from lsn.data.clips.decoding import damaged_clips\n"
        "damaged_clips(read_manifest(sys.argv[1]), record=sys.argv[2],\n"
        "    progress=lambda done, _: done < 3 or os.kill(os.getpid(), signal.SIGKILL))"
    )
    for number in (2, 3):
        encode_pictures(tmp_path / f"{number}.mp4", num_frames=3)
    (tmp_path / "m.csv").write_text("path,label\n" + "".join(f"{clip.path},a\n" for clip in manifest.clips[:5]))
    done = subprocess.run([sys.executable, "-c", call, str(tmp_path / "m.csv"), str(record)])
    assert done.returncode == -signal.SIGKILL
    lines = record.read_text().splitlines()
    assert len(lines) == 3
    record.write_text("\n".join(lines)[:-10])  # the last line was not whole on the disk

    found = damaged_clips(manifest, record=record)

    assert found == damaged_clips(manifest)
    whole = [line for line in record.read_text().splitlines() if line.endswith('"')]
    assert len({json.loads(line) for line in whole}) == 4


def test_a_record_that_is_none(manifest, tmp_path):
    (tmp_path / "other").write_text('{"a": 1}\n[1, 2, 3]\nnonsense\n')
    assert damaged_clips(manifest, record=tmp_path / "other") == damaged_clips(manifest)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="bytes line 1: not UTF-8 text"):
        damaged_clips(manifest, record=tmp_path / "bytes")
