"""States of streams on disk."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import awake
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lsn.errors import WeightsError
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.streaming.snapshots import load_state, save_state
from lsn.tensor_file import write_tensors

HEIGHT, WIDTH = 64, 48


@pytest.fixture(scope="module")
def runtime() -> PyTorchRuntime:
    return PyTorchRuntime(awake("lsn_ss_test_resnet", shift="causal"), height=HEIGHT, width=WIDTH)


def empty_state(runtime):
    return runtime.allocate(1).read(0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    runtime = PyTorchRuntime(awake("lsn_ss_test_resnet", shift="causal"), height=32, width=32)
    state = {name: array + 1 for name, array in empty_state(runtime).items()}
    path = tmp_path_factory.mktemp("saved") / "state"
    save_state(path, state, runtime=runtime, extra={"more": np.arange(3.0)})
    return path, path.read_bytes(), state, runtime


class TestFiles:
    def test_a_saved_state_comes_back_bit_for_bit(self, runtime, tmp_path):
        states = runtime.allocate(1)
        for seed in range(3):
            frame = np.random.default_rng(seed).integers(0, 256, (1, 3, HEIGHT, WIDTH), dtype=np.uint8)
            states.step([0], frame)
        state, extra = states.read(0), {"more": np.arange(3.0)}
        save_state(tmp_path / "new" / "state.safetensors", state, runtime=runtime, extra=extra)
        loaded, more = load_state(tmp_path / "new" / "state.safetensors", runtime=runtime)
        assert loaded.keys() == state.keys()
        assert state["num_frames"] == [3]
        assert all(np.array_equal(array, state[name]) for name, array in loaded.items())
        assert np.array_equal(more["more"], extra["more"])
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.safetensors"]

    def test_other_weights_of_the_same_model_are_refused(self, runtime, tmp_path):
        save_state(tmp_path / "state", empty_state(runtime), runtime=runtime)
        other = copy.deepcopy(runtime.network)
        with torch.no_grad():
            next(other.parameters()).view(-1)[0] += 1e-3
        with pytest.raises(WeightsError, match="state: the state of a stream of lsn_ss_test_resnet with other weights"):
            load_state(tmp_path / "state", runtime=PyTorchRuntime(other, height=HEIGHT, width=WIDTH))
        same = PyTorchRuntime(copy.deepcopy(runtime.network), height=HEIGHT, width=WIDTH)
        load_state(tmp_path / "state", runtime=same)

    def test_files_that_are_no_states_are_refused(self, runtime, tmp_path):
        with pytest.raises(WeightsError, match=r"missing: no such file"):
            load_state(tmp_path / "missing", runtime=runtime)
        (tmp_path / "text").write_text("hello")
        with pytest.raises(WeightsError, match="text: not the state of a stream"):
            load_state(tmp_path / "text", runtime=runtime)
        save_file({"a": torch.zeros(1)}, tmp_path / "weights")
        with pytest.raises(WeightsError, match="weights: not the state of a stream"):
            load_state(tmp_path / "weights", runtime=runtime)
        save_state(tmp_path / "state", empty_state(runtime), runtime=runtime)
        whole = (tmp_path / "state").read_bytes()
        (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WeightsError, match="half: not the state of a stream"):
            load_state(tmp_path / "half", runtime=runtime)

    def test_the_file_is_plain_safetensors(self, runtime, tmp_path):
        save_state(tmp_path / "state", empty_state(runtime), runtime=runtime)
        assert load_file(tmp_path / "state")["num_frames"].tolist() == [0]

    @pytest.mark.parametrize("version", ["1", "2", "3", "5"])
    def test_files_of_other_versions_are_refused(self, runtime, tmp_path, version):
        save_state(tmp_path / "state", empty_state(runtime), runtime=runtime)
        rewrite(tmp_path / "state", about={"format_version": version})
        with pytest.raises(WeightsError, match="not the state of a stream that this LSN reads"):
            load_state(tmp_path / "state", runtime=runtime)

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_a_flipped_bit_is_an_error_or_changes_nothing(self, saved, data):
        path, whole, state, runtime = saved
        content = bytearray(whole)
        header_bytes = 8 + int.from_bytes(content[:8], "little")
        part = data.draw(st.sampled_from([(0, header_bytes - 1), (header_bytes, len(content) - 1)]))
        place = data.draw(st.integers(*part))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        try:
            loaded, extra = load_state(path, runtime=runtime)
        except WeightsError as error:
            assert str(path) in str(error)
        else:
            assert place < header_bytes
            assert all(np.array_equal(array, state[name]) for name, array in loaded.items())
            assert np.array_equal(extra["more"], np.arange(3.0))

    @pytest.mark.parametrize(
        ("about", "without", "tensors", "said"),
        [
            ({}, ["lsn_sha256"], {}, "a damaged state of a stream (no checksum)"),
            ({"lsn_sha256": "0" * 64}, [], {}, "the checksum differs"),
            ({"height": "32"}, [], {}, "the checksum differs"),
            ({"format_version": "1"}, [], {}, "not the state of a stream that this LSN reads"),
            ({}, ["weights"], {}, "with other weights"),
            ({}, ["model", "weights"], {}, "with other weights"),
            ({}, ["height"], {}, "frames of '48' x '' pixels; here they have 48x64"),
            ({"height": "-64"}, [], {}, "frames of '48' x '-64' pixels"),
            ({"height": "9" * 5000}, [], {}, "pixels"),
            ({"height": "\u0664"}, [], {}, "pixels"),
            ({"height": "65"}, [], {}, "pixels"),
            ({}, [], {"num_frames": None}, "no num_frames"),
            ({}, [], {"num_frames": torch.zeros(1)}, "num_frames is 1 float32, expected 1 int64"),
            ({}, [], {"num_frames": torch.tensor([-1])}, "a number of frames under 0"),
            ({}, [], {"num_frames": torch.tensor(0)}, "a damaged state of a stream"),
            ({}, [], {"num_frames": torch.zeros(3, dtype=torch.int64)}, "num_frames is 3 int64, expected 1 int64"),
            ({}, [], {"memory.0.cell_BDHW": None}, "no memory.0.cell_BDHW"),
            ({}, [], {"memory.0.cell_BDHW": torch.zeros(1, 1, 1, 1)}, "memory.0.cell_BDHW is 1x1x1x1 float32"),
            ({}, [], {"memory.0.cell_BDHW": torch.zeros(1, 1, dtype=torch.bfloat16)}, "bfloat16"),
            ({}, [], {"memory.9.cell_BDHW": torch.zeros(1, 1, 1, 1)}, "unknown 'memory.9.cell_BDHW'"),
            ({}, [], {"memory.x": torch.zeros(1)}, "unknown 'memory.x'"),
        ],
    )
    def test_what_no_state_can_hold_is_refused(self, runtime, tmp_path, about, without, tensors, said):
        path = tmp_path / "state"
        save_state(path, empty_state(runtime), runtime=runtime)
        rewrite(path, about=about, without=without, tensors=tensors, sign="checksum" not in said)
        with pytest.raises(WeightsError) as caught:
            load_state(path, runtime=runtime)
        assert said in str(caught.value)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000

    def test_a_file_of_more_than_a_state_can_have_is_not_read(self, runtime, tmp_path):
        save_state(tmp_path / "state", empty_state(runtime), runtime=runtime)
        with (tmp_path / "state").open("r+b") as file:
            file.truncate(1 << 41)
        with pytest.raises(WeightsError, match="at most 1,073,741,824"):
            load_state(tmp_path / "state", runtime=runtime)


def rewrite(path, *, about, without=(), tensors=None, sign=True):
    """Changes what is in a state file; None removes a tensor. With its checksum, as whoever means harm would."""
    with safe_open(path, framework="pt") as file:
        before = file.metadata()
    changed = {key: value for key, value in {**before, **about}.items() if key not in without}
    kept = {name: tensor for name, tensor in (load_file(path) | (tensors or {})).items() if tensor is not None}
    if sign and "lsn_sha256" in changed:
        del changed["lsn_sha256"]
        write_tensors(path, kept, changed)
    else:
        save_file(kept, path, changed)
