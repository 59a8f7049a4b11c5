"""Which videos a batch is about."""

import functools
import http.server
import threading
from pathlib import Path

import pytest

from lsn.batch.sources import find_videos
from lsn.errors import DataError, VideoError
from lsn.remote import local_copy


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("b.mp4", "a.MKV", "deep/er/c.mov", "deep/.hidden.mp4", ".trash/d.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*sources: str) -> list[str]:
    return [video.path for video in find_videos(sources)]


def test_folders_patterns_and_files(folder):
    assert names(".") == ["a.MKV", "b.mp4", "deep/er/c.mov"]
    assert names("deep/**/*.mov") == ["deep/er/c.mov"]
    assert names(str(folder / "*.*")) == [str(folder / "a.MKV"), str(folder / "b.mp4")]
    assert names("b.mp4", ".", "b.mp4") == ["b.mp4", "a.MKV", "deep/er/c.mov"]


def test_lists_name_videos_beside_them_even_missing_ones(folder):
    (folder / "deep/list.txt").write_text("# of today\ner/c.mov\n\nmissing.mp4\n../b.mp4\n")
    (folder / "table.csv").write_text('label,path\nx,b.mp4\ny,"deep/er/c.mov"\n')
    assert names("deep/list.txt") == ["deep/er/c.mov", "deep/missing.mp4", "b.mp4"]
    assert names("table.csv") == ["b.mp4", "deep/er/c.mov"]
    assert [bool(video.version) for video in find_videos(["deep/list.txt"])] == [True, False, True]


def test_the_version_follows_the_content(folder):
    (before,) = find_videos(["b.mp4"])
    (folder / "b.mp4").write_text("something else")
    (after,) = find_videos(["b.mp4"])
    assert before.version != after.version


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("*.avi", r"\*.avi: no videos there"),
        ("deep/.none", "deep/.none: no such file"),
        ("open.csv", r"open.csv: .*quote"),
        ("plain.csv", "plain.csv: a list of videos needs a column named path"),
        ("s9://bucket/a.mp4", "s9://bucket/a.mp4: cannot be opened"),
        ("http://127.0.0.1:1/a.mp4", "http://127.0.0.1:1/a.mp4: cannot be listed"),
    ],
)
def test_sources_that_name_nothing(folder, source, said):
    (folder / "plain.csv").write_text("label\nx\n")
    (folder / "open.csv").write_text('path\n"x\n')
    with pytest.raises(DataError, match=said):
        find_videos([source])


def test_addresses_are_listed_and_fetched(folder):
    pytest.importorskip("aiohttp")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        (folder / "list.txt").write_text(f"{address}/b.mp4?token=[x]*\n{address}/missing.mp4\n")
        assert names(f"{address}/b.mp4") == [f"{address}/b.mp4"]
        assert [bool(video.version) for video in find_videos(["list.txt"])] == [True, False]
        with local_copy(f"{address}/b.mp4?token=x", error=VideoError) as copy:
            assert (copy.read_text(), copy.suffix) == ("b.mp4", ".mp4")
        assert not copy.exists()
        with (
            pytest.raises(VideoError, match=r"/missing.mp4: no such file"),
            local_copy(f"{address}/missing.mp4", error=VideoError),
        ):
            pass
        server.shutdown()
