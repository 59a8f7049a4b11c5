"""Which folder belongs to which video: no name and no record leads out of it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from extraction_helpers import clip_of, extract
from hypothesis import given
from hypothesis import strategies as st

from lsn.data import read_manifest
from lsn.data.frames.extraction import extract_manifests
from lsn.data.frames.record import folder_of
from lsn.errors import DataError
from lsn.files import write_csv
from lsn.video import write_video
from lsn.video.decoding.frames_reader import numbered_files

# What a part of a path can be called: dots, spaces, escapes of ours, bytes that are no UTF-8, and letters.
part = st.text(
    st.sampled_from([*". %2E\t\r\n\x1f\xa0\u3000", *"partlmé4\\\udc80\udcff"]),
    min_size=1,
    max_size=120,
).filter(lambda name: name not in (".", ".."))


@given(st.lists(part, min_size=1, max_size=4))
def test_no_name_of_a_video_leads_out_of_its_own_folder(parts):
    folder = folder_of("/".join(parts))

    names = folder.split("/")
    assert len(names) == len(parts)
    for name in names:
        assert name
        assert not name.startswith(".")  # neither . nor .., nor what a folder under way is called
        assert name == name.rstrip(".").rstrip()
        assert len(name.encode()) <= 240  # so it is Unicode, too
    root = Path("/out/frames").resolve()
    assert (root / folder).resolve() == root.joinpath(*names)
    assert root in (root / folder).resolve().parents


@given(st.lists(st.text("ab0 -_é%", min_size=1).filter(lambda name: name == name.strip()), min_size=1, max_size=4))
def test_an_ordinary_name_is_that_of_its_folder(parts):
    path = "/".join(parts)
    assert folder_of(f"{path}.mp4") == folder_of(f"{path}.tar.mp4").removesuffix(".tar") == path


@pytest.mark.parametrize("video", ["", ".", "..", "../x.mp4", "a/../../x.mp4", "/x.mp4", "a//x.mp4", "a/", "a/."])
def test_a_path_that_leads_up_has_no_folder(video):
    with pytest.raises(ValueError, match="no path below a folder"):
        folder_of(video)


ODD_NAMES = [
    *(
        b"...mp4",
        b"..mp4",
        b".mp4",
        b"....mp4",
        b"a..mp4",
        b"b .mp4",
        b"b\n.mp4",
        b".x.partial.mp4",
        b"x.mp4",
        b"\xff.mp4",
    ),
    *(b"-c.mp4", b"=d.mp4", b"'=e.mp4", b"%2E.avi.mp4", b"f" * 251 + b".mp4", "é".encode() * 125 + b".mp4"),
    *(b".g.partial/...mp4", b"g.mp4", b"h./..mp4", b"\xfe/.\xff.mp4", b"i/.../j.mp4"),
]


def test_videos_of_any_name_have_folders_of_their_own_and_nothing_else_is_touched(tmp_path):
    write_video(tmp_path / "one.mp4", clip_of(1), fps=10)
    names = [os.fsdecode(name) for name in ODD_NAMES]
    for name in names:
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "one.mp4", tmp_path / "videos" / name)
    write_csv(tmp_path / "videos/x.csv", [("path", "label"), *((name, "y") for name in names)])
    manifests = [read_manifest(tmp_path / "videos/x.csv")]

    done = extract_manifests(manifests, tmp_path / "out")
    again = extract_manifests(manifests, tmp_path / "out")

    assert done.failures == again.failures == ()
    assert (done.num_extracted, again.num_found) == (len(names), len(names))
    clips = read_manifest(tmp_path / "out/x.csv").clips
    assert len({clip.path for clip in clips}) == len(names)
    assert all(len(numbered_files(Path(clip.path), None)) == 5 for clip in clips)
    assert len(list((tmp_path / "out/frames").rglob("*.jpg"))) == 5 * len(names)
    assert (tmp_path / "out/x.csv").read_text(encoding="utf-8", errors="strict")


def test_folders_that_are_not_whole_are_written_again_whatever_their_videos_are_called(tmp_path):
    write_video(tmp_path / "videos/...mp4", clip_of(1), fps=10)
    write_video(tmp_path / "videos/kept.mp4", clip_of(2), fps=10)
    (tmp_path / "videos/x.csv").write_text("path,label\n...mp4,y\nkept.mp4,y\n")
    manifests = [read_manifest(tmp_path / "videos/x.csv")]
    extract_manifests(manifests, tmp_path / "out")
    (torn,) = {path.parent for path in (tmp_path / "out/frames").rglob("*.jpg")} - {tmp_path / "out/frames/kept"}
    (torn / "img_00003.jpg").unlink()
    (tmp_path / "out/note.txt").write_text("mine")

    done = extract_manifests(manifests, tmp_path / "out")

    assert (done.num_extracted, done.num_found) == (1, 1)
    assert len(numbered_files(torn, None)) == 5
    assert (tmp_path / "out/note.txt").read_text() == "mine"


@pytest.mark.parametrize("link", ["frames/a", "frames/a/one", "frames/.b.partial"])
def test_links_in_the_folder_of_frames_are_not_followed(videos, tmp_path, link):
    for name in ("one", "img_00001.jpg"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "note.txt").write_text("mine")
    extract(videos, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / link, ignore_errors=True)
    (tmp_path / "out" / link).symlink_to(tmp_path / "mine")
    before = sorted((tmp_path / "mine").rglob("*"))

    done = extract(videos, tmp_path / "out")

    assert sorted((tmp_path / "mine").rglob("*")) == before
    failed = [path for path, reason in done.failures if "remove the link" in reason]
    expected = {"frames/a": ["one", "two"], "frames/a/one": ["one"], "frames/.b.partial": []}[link]
    assert sorted(failed) == [str(videos / f"a/{name}.mp4") for name in expected]


def test_the_folder_of_all_frames_may_be_a_link(videos, tmp_path):
    (tmp_path / "large disk").mkdir()
    extract(videos, tmp_path / "out")
    shutil.rmtree(tmp_path / "out/frames")
    (tmp_path / "out/frames").symlink_to(tmp_path / "large disk")

    assert extract(videos, tmp_path / "out").num_extracted == 4
    assert len(list((tmp_path / "large disk").rglob("*.jpg"))) == 5 + 6 + 7 + 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"videos": {"..": "..mp4"}}, "the folder of '..mp4' is '..'; expected '%2E'"),
        ({"videos": {"../..": "a/one.mp4"}}, "the folder of 'a/one.mp4' is '../..'"),
        ({"videos": {"OUTSIDE": "a/one.mp4"}}, "the folder of 'a/one.mp4' is '/"),
        ({"videos": {"": "."}}, "'.' is no path below a folder"),
        ({"videos": {"../x": "../x.mp4"}}, "'../x.mp4' is no path below a folder"),
        ({"videos": {"x": "/x.mp4"}}, "'/x.mp4' is no path below a folder"),
        ({"videos": {"x": 3}}, "videos is {'x': 3}"),
        ({"videos": ["x"]}, "videos is ['x']"),
        ({"videos": None}, "videos is None"),
        ({"videos": {"x": "x\ud800.mp4"}}, "videos is "),
        ({"top": 3}, "top is 3"),
        ({"top": "videos"}, "top is 'videos'"),
        ({"top": "/a\0b"}, "top is '/a"),
        ({"manifests": {"train.csv": ["x"]}}, "manifests is {'train.csv': ['x']}"),
        ({"manifests": 0}, "manifests is 0"),
        ({"settings": "x"}, "settings is 'x'"),
    ],
)
def test_a_record_that_we_did_not_write_is_refused_and_nothing_is_touched(videos, tmp_path, change, said):
    extract(videos, tmp_path / "out")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/note.txt").write_text("mine")
    record = tmp_path / "out/extraction.json"
    forged = json.dumps(json.loads(record.read_text()) | change)
    # An absolute folder that is ours: a version that believes the record must not find anything else to remove.
    record.write_text(forged.replace("OUTSIDE", str(tmp_path / "outside")))
    shutil.rmtree(tmp_path / "out/frames/a/one")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(DataError) as caught:
        extract(videos, tmp_path / "out")

    assert str(caught.value).startswith(f"{record}: not a record of extracted frames: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_video_that_took_the_place_of_its_folder_has_no_folder_of_frames(videos, tmp_path):
    extract(videos, tmp_path / "out")
    shutil.rmtree(videos)
    write_video(tmp_path / "one.mp4", clip_of(1), fps=10)
    (tmp_path / "one.mp4").rename(videos)
    (tmp_path / "more.csv").write_text("path,label\nvideos,y\n")
    with pytest.raises(DataError, match=r"is not in .*videos, whose videos' frames are in this folder"):
        extract_manifests([read_manifest(tmp_path / "more.csv")], tmp_path / "out")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "1" * 5000, "\xff"])
def test_a_record_that_is_no_record_is_refused(videos, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/extraction.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"extraction\.json") as caught:
        extract(videos, tmp_path / "out")
    assert "\n" not in str(caught.value)
