"""Manifests of every format, as users write them and as they get them wrong."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.data import read_manifest
from lsn.errors import DataError
from lsn.files import write_csv

# Cells as a spreadsheet could mistake them, or as the mark against that could be mistaken.
cells = st.text(st.sampled_from("'=+-@ab\t\r\n,\""))


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def error_of(path: Path, **arguments: object) -> str:
    with pytest.raises(DataError) as caught:
        read_manifest(path, **arguments)
    return str(caught.value)


class TestCsv:
    def test_paths_start_from_the_manifest_and_labels_are_sorted(self, tmp_path):
        manifest = read_manifest(write(tmp_path / "m.csv", "path,label\nb/x.mp4,wave\n/abs/y.mp4,clap\n"))
        assert [clip.path for clip in manifest.clips] == [str(tmp_path / "b/x.mp4"), "/abs/y.mp4"]
        assert manifest.labels == ("clap", "wave")
        assert [manifest.label_index(clip.label) for clip in manifest.clips] == [1, 0]
        assert [clip.line for clip in manifest.clips] == [2, 3]

    def test_root_replaces_the_manifests_folder(self, tmp_path):
        manifest = read_manifest(write(tmp_path / "m.csv", "path,label\nx.mp4,a\n"), root="elsewhere")
        assert manifest.clips[0].path == "elsewhere/x.mp4"

    def test_all_columns(self, tmp_path):
        text = (
            "label,path,first_frame,last_frame,frame_pattern,num_frames,video,mood\n"
            "a,x,3,9,img_{:05d}.jpg,12,v1,happy\na,y,,,,, v2 ,\n"
        )
        first, second = read_manifest(write(tmp_path / "m.csv", text), group_column="video").clips
        assert (first.first_frame, first.last_frame, first.num_frames) == (3, 9, 12)
        assert (first.frame_pattern, first.group) == ("img_{:05d}.jpg", "v1")
        assert second.window == (None, None, None, None)
        assert (second.frame_pattern, second.num_frames, second.group) == (None, None, "v2")

    def test_seconds(self, tmp_path):
        manifest = read_manifest(write(tmp_path / "m.csv", "path,label,start_seconds,end_seconds\nx,a,0.5,2\ny,a,,3\n"))
        assert [clip.window[:2] for clip in manifest.clips] == [(0.5, 2.0), (None, 3.0)]

    def test_byte_order_mark_windows_line_ends_blank_lines_and_spaces(self, tmp_path):
        text = b"\xef\xbb\xbfpath, label\r\n x.mp4 , a\r\n\r\ny.mp4,b\r\n"
        clips = read_manifest(write(tmp_path / "m.csv", text)).clips
        assert [(Path(clip.path).name, clip.label, clip.line) for clip in clips] == [
            ("x.mp4", "a", 2),
            ("y.mp4", "b", 4),
        ]

    def test_line_after_a_quoted_line_break(self, tmp_path):
        clips = read_manifest(write(tmp_path / "m.csv", 'path,label,note\nx,a,"two\nlines"\ny,a,z\n')).clips
        assert [clip.line for clip in clips] == [2, 4]

    @given(st.lists(st.tuples(st.text("ab ,\"é'", min_size=1), st.text('xyß,;"', min_size=1)), min_size=1))
    def test_whatever_csv_writes_is_read_back(self, tmp_path_factory, rows):
        rows = [(path.strip(), label) for path, label in rows if path.strip()]
        path = tmp_path_factory.mktemp("csv") / "m.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "label"), *rows])
        if rows:
            clips = read_manifest(path, root="").clips
            assert [(clip.path, clip.label) for clip in clips] == rows

    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("path,lable", ["no column 'label'", "path, lable", "did you mean 'lable'?"]),
            ("Path,label", ["no column 'path'", "Path, label", "did you mean 'Path'?"]),
            ("file,class", ["no column 'path'", "file, class"]),
            ("path;label", ["no column 'path'", "separate the columns by commas"]),
            ("path,label,path", ["occurs twice", "path, label, path"]),
        ],
    )
    def test_wrong_header(self, tmp_path, header, expected):
        message = error_of(write(tmp_path / "train.csv", f"{header}\nx.mp4,a\n"))
        assert message.startswith(f"{tmp_path / 'train.csv'}: ")
        assert all(part in message for part in expected), message
        assert "\n" not in message

    def test_wrong_group_column(self, tmp_path):
        message = error_of(write(tmp_path / "m.csv", "path,label,source\nx,a,s\n"), group_column="sources")
        assert "no group column 'sources'" in message
        assert "did you mean 'source'?" in message

    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            ("x.mp4,,,,", "no label"),
            (",a,,,", "no path"),
            ("x.mp4", "no label"),
            ("x,a,b,1,2,3", "more cells than the header has; put quotes"),
            ("x,a,2,1,", "the window ends at 1 seconds, not after its start at 2"),
            ("x,a,,0,", "the window ends at 0 seconds"),
            ("x,a,-1,,", "start_seconds is '-1'; expected seconds, 0 or more"),
            ("x,a,one,,", "start_seconds is 'one'"),
            ("x,a,nan,,", "start_seconds is 'nan'"),
            ("x,a,inf,,", "start_seconds is 'inf'"),
            ("x,a,1,,4", "a window in seconds and one in frames"),
            ("x,a,,,4.5", "last_frame is '4.5'; expected a whole number"),
            ("x,a,,,0", "the window ends at 0 frames"),
            (f"x,a,,1{'0' * 400},", "end_seconds is '1000"),
            (f"x,a,,,1{'0' * 400}", "last_frame is '1000"),
            (f"x,a,,,1{'0' * 5000}", "last_frame is '1000"),
            ("x\0,a,,,", "path is "),
        ],
    )
    def test_wrong_row_is_named_with_its_line(self, tmp_path, row, expected):
        header = "path,label,start_seconds,end_seconds,last_frame"
        path = write(tmp_path / "m.csv", f"{header}\ngood.mp4,a,,,\n{row}\n")
        message = error_of(path)
        assert message.startswith(f"{path} line 3: ")
        assert expected in message
        assert "\n" not in message

    def test_frames_that_passed_through_pandas(self, tmp_path):
        manifest = read_manifest(write(tmp_path / "m.csv", "path,label,first_frame\nx,a,12.0\n"))
        assert manifest.clips[0].first_frame == 12

    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            ("2,10,8", "the window reaches frame 9, but num_frames is 8"),
            ("8,,8", "the window reaches frame 8, but num_frames is 8"),
            (",,0", "num_frames is 0"),
        ],
    )
    def test_window_outside_the_promised_frames(self, tmp_path, cells, expected):
        text = f"path,label,first_frame,last_frame,num_frames\nx,a,{cells}\n"
        assert expected in error_of(write(tmp_path / "m.csv", text))

    def test_many_wrong_rows_are_counted_and_ten_listed(self, tmp_path):
        message = error_of(write(tmp_path / "m.csv", "path,label\nx,a\n" + ",a\n" * 25))
        assert message.startswith("25 problems in the data:")
        assert "line 12: no path" in message
        assert "line 13" not in message
        assert "and 15 more" in message

    def test_columns_that_look_like_ours_are_not_ignored_silently(self, tmp_path, caplog):
        write(tmp_path / "m.csv", "path,label,start_time,num_frame,scene,frame_rate\nx,a,1,2,s,25\n")
        read_manifest(tmp_path / "m.csv")
        warned = [record.getMessage() for record in caplog.records]
        assert len(warned) == 2
        assert "column 'start_time' is not read" in warned[0]
        assert "column 'num_frame' is not read" in warned[1]

    @pytest.mark.parametrize("text", ["", "path,label\n", "\n\n"])
    def test_empty(self, tmp_path, text):
        assert any(part in error_of(write(tmp_path / "m.csv", text)) for part in ("empty", "no usable clips"))

    def test_not_utf8_names_the_line(self, tmp_path):
        path = write(tmp_path / "m.csv", "path,label\nx,ok\ny,Gebärde\n".encode("latin-1"))
        assert error_of(path).startswith(f"{path} line 3: not UTF-8 text (byte 0xe4)")

    def test_utf16_from_a_spreadsheet(self, tmp_path):
        assert "save the manifest as UTF-8" in error_of(write(tmp_path / "m.csv", "path,label\n".encode("utf-16")))

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("num_rows_behind", [0, 3, 40_000])
    @pytest.mark.parametrize("last", ["", "z,c"])
    @pytest.mark.parametrize(
        ("before", "broken", "line"),
        [
            ([], 'x,"a', 2),
            (["w,a", "w,b"], '"x,a', 4),
            (['w,"two', 'lines"'], 'x,"a', 4),
            (["v,a", '"w'], 'x",a,"b', 4),
        ],
    )
    def test_a_quote_that_is_never_closed_is_found_where_it_opens(
        self, tmp_path, end, num_rows_behind, last, before, broken, line
    ):
        text = end.join(["path,label,note", *before, broken, *["y,b"] * num_rows_behind, last])
        message = error_of(write(tmp_path / "m.csv", text))
        assert message.startswith(f"{tmp_path / 'm.csv'} line {line}: a quote")
        assert len(message) < 400

    def test_a_cell_without_end_is_named_with_its_line(self, tmp_path):
        message = error_of(write(tmp_path / "m.csv", f"path,label\nx,a\ny,{'b' * 200_000}\n"))
        assert message.startswith(f"{tmp_path / 'm.csv'} line 3: not CSV: ")

    @given(st.lists(st.tuples(cells, cells.filter(str.strip)), min_size=1))
    def test_no_label_is_a_formula_for_a_spreadsheet_and_all_are_read_back(self, tmp_path_factory, rows):
        path = tmp_path_factory.mktemp("csv") / "m.csv"
        write_csv(path, [("path", "label"), *((f"x{path}x", label) for path, label in rows)])
        with path.open(encoding="utf-8", newline="") as file:
            seen = [cell for row in csv.reader(file) for cell in row]
        assert [cell for cell in seen if cell.startswith(tuple("=+-@\t\r\n"))] == []
        clips = read_manifest(path, root="").clips
        assert [(clip.path, clip.label) for clip in clips] == [(f"x{path}x", label.strip()) for path, label in rows]

    def test_apostrophes_of_users_stay_where_no_formula_follows(self, tmp_path):
        manifest = read_manifest(write(tmp_path / "m.csv", "path,label\nx,'n Sync\ny,'=1+1\nz,=1+1\nz,'\n"))
        assert [clip.label for clip in manifest.clips] == ["'n Sync", "=1+1", "=1+1", "'"]

    def test_a_file_whose_name_is_no_unicode_is_found_by_what_we_write(self, tmp_path):
        name = os.fsdecode(b"caf\xe9.mp4")
        write_csv(tmp_path / "m.csv", [("path", "label"), (name, "a")])
        assert read_manifest(tmp_path / "m.csv").clips[0].path == str(tmp_path / name)

    @pytest.mark.parametrize("text", ["path,l\xe4bel\nx,a\n", "path,label\nx,a\n\ny,\xe4\n"])
    def test_text_that_is_not_utf8_is_named_with_its_line(self, tmp_path, text):
        line = 1 if "label" not in text else 4
        message = error_of(write(tmp_path / "m.csv", text.encode("latin-1")))
        assert message == f"{tmp_path / 'm.csv'} line {line}: not UTF-8 text (byte 0xe4); save the manifest as UTF-8"

    def test_unknown_labels_are_counted_with_the_nearest(self, tmp_path):
        path = write(tmp_path / "m.csv", "path,label\nx,wave\ny,Claps\nz,Claps\n")
        message = error_of(path, labels=["clap", "wave"])
        assert message == f"{path} line 3: unknown label 'Claps' (2 clips); did you mean 'clap'?"

    def test_an_unknown_label_far_from_all_lists_only_some(self, tmp_path):
        path = write(tmp_path / "m.csv", "path,label\nx,zzzz\n")
        message = error_of(path, labels=[f"class {i:03d}" for i in range(174)])
        assert "and 164 more" in message
        assert len(message) < 300


class TestOtherFormats:
    def test_json_lines_equal_the_same_csv(self, tmp_path):
        rows = [
            {"path": "x.mp4", "label": "a\u2028b", "start_seconds": 1.5, "end_seconds": None, "scene": "s1"},
            {"path": "y", "label": "c", "num_frames": 7, "frame_pattern": "{:06d}.png"},
        ]
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        manifest = read_manifest(write(tmp_path / "m.jsonl", text + "\n\n"), group_column="scene")
        columns = ["path", "label", "start_seconds", "end_seconds", "num_frames", "frame_pattern", "scene"]
        with (tmp_path / "m.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        from_csv = read_manifest(tmp_path / "m.csv", group_column="scene")
        assert manifest.labels == from_csv.labels
        lines = [clip.line for clip in manifest.clips]
        assert lines == [1, 2]
        assert [strip_line(clip) for clip in manifest.clips] == [strip_line(clip) for clip in from_csv.clips]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ('{"path": "x", "label": 3}', "line 2: label is 3; expected text; labels are names, not numbers"),
            ('{"path": "x", "label": "a", "first_frame": true}', "line 2: first_frame is True"),
            ('{"path": "x", "label": "a", "num_frames": [1]}', "line 2: num_frames is [1]"),
            ('{"path": "x", "label": "a", "end_seconds": {}}', "line 2: end_seconds is {}"),
            ('{"path": "x"', "line 2: not JSON"),
            ('["x", "a"]', "line 2: expected an object"),
            ('{"path": "x", "label": "a\\ud800"}', "line 2: 'a\\ud800' holds half of a character (U+D800)"),
            ('{"path": "x\\ud800", "label": "a"}', "line 2: path is 'x\\ud800"),
            ('{"path": "x\\u0000", "label": "a"}', "line 2: path is 'x\\x00'"),
            ('{"path": "x", "label": "a", "end_seconds": 1%s}' % ("0" * 400), "line 2: end_seconds is 1000"),
            ('{"path": "x", "label": "a", "last_frame": 1%s}' % ("0" * 400), "line 2: last_frame is 1000"),
            (
                '{"path": "x", "label": "a", "last_frame": 1%s}' % ("0" * 5000),
                "line 2: not JSON: a number of thousands",
            ),
            ('{"path": "x", "label": "a", "end_seconds": Infinity}', "line 2: end_seconds is inf"),
            ('{"path": "x", "label": %s' % ("[" * 100_000), "line 2: not JSON: nested too deeply"),
            (f'{{"path": "x", "label": {list(range(99_999))}}}', "line 2: label is [0, 1, 2, 3, 4"),
            ('{"path": "x", "lable": "a"}', "line 2: no label"),
        ],
    )
    def test_wrong_json_line(self, tmp_path, line, expected):
        message = error_of(write(tmp_path / "m.jsonl", f'{{"path": "x", "label": "a"}}\n{line}\n'))
        assert expected in message
        assert len(message) < 400

    def test_wrong_json_key_everywhere(self, tmp_path):
        message = error_of(write(tmp_path / "m.jsonl", '{"path": "x", "lable": "a"}\n'))
        assert "no column 'label' (columns found: path, lable); did you mean 'lable'?" in message

    def test_tsn_list(self, tmp_path):
        path = write(tmp_path / "list.txt", "videos/a b 12 1\r\nvideos/c 7 0\n")
        manifest = read_manifest(path, labels=write(tmp_path / "labels.txt", "jump\nrun far\n"))
        assert [(Path(c.path).name, c.num_frames, c.label) for c in manifest.clips] == [
            ("a b", 12, "run far"),
            ("c", 7, "jump"),
        ]

    def test_tsn_list_needs_names(self, tmp_path):
        assert "set data.labels to a file with their names" in error_of(write(tmp_path / "list.txt", "a 12 1\n"))

    def test_tsn_numbers_off_by_one(self, tmp_path):
        path = write(tmp_path / "list.txt", "a 12 1\nb 12 2\nc 12 3\n")
        message = error_of(path, labels=["x", "y", "z"])
        assert "label numbers run from 1 to 3, off by one: 3 labels have the numbers 0 to 2; subtract 1" in message

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("b 12 3", "line 2: label number 3 is outside 0 to 2"),
            ("b 12 -1", "line 2: label number -1 is outside 0 to 2"),
            ("b 0 1", "line 2: num_frames is 0"),
            ("b 1", "line 2: expected 'path num_frames label_number', got 'b 1'"),
            ("b,12,1", "line 2: expected 'path num_frames label_number'"),
            ("b 12 one", "line 2: expected 'path num_frames label_number'"),
            (f"b 12 1{'0' * 400}", "line 2: label number 1000"),
            (f"b 12 1{'0' * 5000}", "line 2: expected 'path num_frames label_number'"),
        ],
    )
    def test_wrong_tsn_line(self, tmp_path, line, expected):
        path = write(tmp_path / "list.txt", f"a 12 0\n{line}\n")
        message = error_of(path, labels=["x", "y", "z"])
        assert f"{path} {expected}" in message
        assert len(message) < 400

    def test_class_folders(self, tmp_path):
        for name in ("run/b.MP4", "run/a.webm", "jump/c/img_00001.jpg", "jump/c/img_00002.jpg", "jump/.DS_Store"):
            write(tmp_path / name, "")
        write(tmp_path / "readme.txt", "")
        write(tmp_path / ".cache/x.mp4", "")
        manifest = read_manifest(tmp_path)
        found = [(Path(clip.path).relative_to(tmp_path).as_posix(), clip.label) for clip in manifest.clips]
        assert found == [("jump/c", "jump"), ("run/a.webm", "run"), ("run/b.MP4", "run")]

    def test_class_folder_with_other_files_warns(self, tmp_path, caplog):
        for name in ("run/a.mp4", "run/notes.txt", "run/nested/b.mp4"):
            write(tmp_path / name, "")
        assert len(read_manifest(tmp_path)) == 1
        assert "left out 2 entries" in caplog.text
        assert "nested, notes.txt" in caplog.text

    def test_class_folder_without_videos(self, tmp_path):
        write(tmp_path / "run/a.mp4", "")
        write(tmp_path / "jump/a.mp4x", "")
        assert error_of(tmp_path).startswith(f"{tmp_path / 'jump'}: no videos in this class folder")

    @pytest.mark.parametrize("val", ["val", "validation", "test"])
    def test_folder_of_splits(self, tmp_path, val):
        write(tmp_path / "train/run/a.mp4", "")
        write(tmp_path / val / "run/b.mp4", "")
        message = error_of(tmp_path)
        assert f"data.train to {tmp_path / 'train'}" in message
        assert f"data.val to {tmp_path / val}" in message

    def test_folder_without_classes(self, tmp_path):
        write(tmp_path / "a.mp4", "")
        assert "no class folders" in error_of(tmp_path)

    @pytest.mark.parametrize("name", ["missing.csv", "missing.txt", "missing", "missing.parquet"])
    def test_missing(self, tmp_path, name):
        message = error_of(tmp_path / name, labels=["a"])
        assert str(tmp_path / name) in message
        assert "no such" in message

    def test_a_video_is_no_manifest(self, tmp_path):
        assert "this is a video" in error_of(write(tmp_path / "x.mp4", "data"))

    def test_unknown_ending(self, tmp_path):
        assert "cannot tell the format from '.xlsx'" in error_of(write(tmp_path / "x.xlsx", "data"))

    def test_group_column_needs_columns(self, tmp_path):
        write(tmp_path / "run/a.mp4", "")
        assert "only .csv and .jsonl have columns" in error_of(tmp_path, group_column="scene")


def strip_line(clip):
    return (clip.path, clip.label, clip.window, clip.group, clip.frame_pattern, clip.num_frames)
