"""Label files: the names of the classes in the order of their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsn.data import Manifest, read_labels, read_manifest
from lsn.errors import DataError


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


class TestLabels:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("labels.txt", "b\na\nc d\n"),
            ("labels.txt", "\ufeffb\r\na\r\nc d\r\n\r\n"),
            ("labels.json", '["b", "a", "c d"]'),
            ("labels.json", '{"a": 1, "b": 0, "c d": 2}'),
            ("labels.json", '{"a": "1", "b": "0", "c d": "2"}'),
        ],
    )
    def test_forms(self, tmp_path, name, text):
        assert read_labels(write(tmp_path / name, text)) == ("b", "a", "c d")

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("labels.txt", "", "no labels"),
            ("labels.txt", "a\n\nb\n", "line 2: blank line"),
            ("labels.txt", "a\nb\na\n", "label 'a' has two numbers, 0 and 2"),
            ("labels.json", '{"a": 1, "b": 2}', "label numbers run from 1 to 2; they must start at 0"),
            ("labels.json", '{"a": 0, "b": 2}', "2 labels need the numbers 0 to 1, found 2"),
            ("labels.json", '{"a": 0, "b": "0"}', "labels 'a' and 'b' have the same number 0"),
            ("labels.json", '{"a": 0, "b": "%s"}' % ("9" * 5000), "label 'b' has the number '999"),
            ("labels.json", '{"a": 0, "b": 1%s}' % ("9" * 400), "label 'b' has the number 1999"),
            ("labels.json", '{"a": 0, "b": 1%s}' % ("9" * 5000), "not JSON: a number of thousands of digits"),
            ("labels.json", "[" * 100_000, "not JSON: nested too deeply"),
            ("labels.json", '["a", "b\\ud800"]', "label 1 is 'b\\ud800'"),
            ("labels.json", '{"a": "x"}', "label 'a' has the number 'x'"),
            ("labels.json", '{"a": true}', "label 'a' has the number True"),
            ("labels.json", "{}", "no labels"),
            ("labels.json", '["a",\n', "line 2: not JSON"),
            ("labels.json", '[["Back", "15som"]]', "expected a list of names"),
        ],
    )
    def test_wrong(self, tmp_path, name, text, expected):
        path = write(tmp_path / name, text)
        with pytest.raises(DataError) as caught:
            read_labels(path)
        assert str(caught.value).startswith(str(path))
        assert expected in str(caught.value)

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match="no such labels file"):
            read_manifest(write(tmp_path / "m.csv", "path,label\nx,a\n"), labels=tmp_path / "labels.txt")

    def test_label_index_of_an_unknown_label(self):
        with pytest.raises(DataError, match="did you mean 'Wave'"):
            Manifest("m.csv", ("Wave",), ()).label_index("wave")
