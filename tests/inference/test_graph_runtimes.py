"""Graphs as streams and clips, whatever runs them, and descriptions that are not what an export wrote."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sum_runtime import SIZE, SumRuntime, write_sum_export

from lsn.errors import ModelError, WeightsError
from lsn.inference.runtimes.description import read_description, write_description
from lsn.streaming import StreamEngine


@pytest.fixture
def folder(tmp_path):
    write_sum_export(tmp_path)
    return tmp_path


def frame(value: int) -> np.ndarray:
    return np.full((3, SIZE, SIZE), value, np.uint8)


def test_streams_of_a_graph_keep_their_own_states(folder, tmp_path):
    engine = StreamEngine(SumRuntime(folder), 3)
    a, b = engine.acquire(), engine.acquire()
    engine.step({b: frame(7)})
    step = engine.step({a: frame(1), b: frame(2)})
    assert [list(step.logits[slot]) for slot in (a, b)] == [[1, 1], [9, 2]]
    engine.save(b, tmp_path / "state", {})
    engine.reset(b)
    step = engine.step({b: frame(3), a: frame(4)})
    assert [list(step.logits[slot]) for slot in (a, b)] == [[5, 2], [3, 1]]
    engine.load(a, tmp_path / "state")
    step = engine.step({a: frame(1), b: frame(255)})
    assert list(step.logits_of(a)) == [10, 3]
    assert list(step.errors) == [b]
    with pytest.raises(ModelError, match="not finite"):
        step.logits_of(b)
    assert list(engine.step({b: frame(1)}).logits[b]) == [4, 2]
    assert engine.bytes_per_stream == 12


@pytest.mark.parametrize("num_frames", [1, 3, 5])
def test_clips_of_any_length(folder, num_frames):
    clips = np.random.default_rng(0).integers(0, 200, (2, num_frames, 3, SIZE, SIZE), dtype=np.uint8)
    logits_BTK = SumRuntime(folder).forward_frames(clips)
    np.testing.assert_allclose(logits_BTK[..., 0], clips.mean(axis=(2, 3, 4)).cumsum(axis=1), rtol=1e-5)
    assert logits_BTK[..., 1].tolist() == [list(range(1, num_frames + 1))] * 2


def test_states_that_do_not_fit_are_refused(folder):
    engine = StreamEngine(SumRuntime(folder), 1)
    slot = engine.acquire()
    good = engine.state(slot)
    for bad in (
        {"total": good["total"]},
        {**good, "more": good["total"]},
        {**good, "total": np.zeros((2, 1), np.float32)},
    ):
        with pytest.raises(ModelError, match=r"the state is of another model or size than lsn_sum has here \("):
            engine.put(slot, bad)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"format_version": 1', '"format_version": 2', "reads version 1: use the LSN that wrote it, or export again"),
        ('"lsn-export"', '"other"', "not the description of an export"),
        ('"step.onnx"', '"../step.onnx"', "is not the name of a graph in the folder"),
        ('"step.onnx"', '"/"', "is not the name of a graph in the folder"),
        ('"step.onnx"', '"export.json"', "is not the name of a graph in the folder"),
        ('"step.onnx"', '"other.onnx"', "other.onnx: is missing"),
        ('"step.onnx"', '"clip.onnx"', "clip.onnx: not the graph that the export wrote"),
        ('"num_frames": 3', '"num_frames": "three"', "num_frames: expected int"),
        ('"num_frames": 3', f'"num_frames": {"9" * 5000}', "not readable JSON"),
        ('"float32"', '"banana"', "a state of 'banana'"),
        ('"state_01_in"', '"state_00_in"', "two states have one name"),
        ('"num_frames",', '"other",', "do not count the frames"),
        ("{", "", "not readable JSON"),
    ],
)
def test_a_description_that_no_export_wrote_is_refused(folder, old, new, said):
    (folder.parent / "step.onnx").write_bytes(b"step.onnx")  # right but for where it is
    path = folder / "export.json"
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(WeightsError, match=said) as caught:
        SumRuntime(folder)
    assert str(folder) in str(caught.value)


def test_a_changed_graph_and_a_folder_without_one_are_refused(folder):
    assert read_description(folder).labels == ("sum", "seen")
    write_description(folder, replace(read_description(folder), step=None, states=()))
    with pytest.raises(ModelError, match="cannot stream"):
        StreamEngine(SumRuntime(folder), 1)
    (folder / "clip.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"clip\.onnx: not the graph that the export wrote"):
        SumRuntime(folder)
    (folder / "export.json").unlink()
    with pytest.raises(WeightsError, match="holds no export; write one with"):
        read_description(folder)


def test_what_a_library_raises_names_the_graph(folder):
    class BrokenRuntime(SumRuntime):
        def _load(self, path):
            raise RuntimeError("no such operator\nin line 3")

    with pytest.raises(ModelError, match=r"step\.onnx: numpy cannot run it \(no such operator in line 3\)"):
        BrokenRuntime(folder).allocate(1)


def test_the_description_is_plain_json(folder):
    assert json.loads((folder / "export.json").read_text())["states"][1]["shape"] == []
