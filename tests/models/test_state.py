import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import awake
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lsn.errors import ModelError, WeightsError
from lsn.models import Recognizer
from lsn.models.cost import model_cost
from lsn.models.factory import TESTED_CNNS
from lsn.models.tensor_file import write_tensors
from lsn.streaming.snapshots import load_state, save_state, weights_fingerprint


def frames(num_frames: int, *, batch: int = 2, height: int = 64, width: int = 48) -> torch.Tensor:
    return torch.randn(batch, num_frames, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> Recognizer:
    return awake("lsn_ss_test_resnet", shift="causal")


CAUSAL = [
    ("tsn", {}),
    ("tsm", {"shift": "causal"}),
    ("gru", {}),
    ("gru", {"shift": "causal"}),
    ("convlstm", {}),
    ("lsn", {}),
    ("lsn", {"steps": 5, "order": 2}),
    ("lsn_ss", {"shift": "causal"}),
]


@pytest.mark.parametrize("cnn", TESTED_CNNS)
@pytest.mark.parametrize(("family", "options"), CAUSAL[-1:])
def test_every_listed_cnn_streams_with_shift_and_memory(family: str, options: dict, cnn: str) -> None:
    check_steps(awake(f"{family}_{cnn}", **options))


@pytest.mark.parametrize(("family", "options"), CAUSAL)
def test_every_causal_family_streams(family: str, options: dict) -> None:
    check_steps(awake(f"{family}_resnet10t", **options))


def check_steps(model: Recognizer) -> None:
    x_BTCHW = frames(5)
    with torch.inference_mode():
        expected = model.forward_frames(x_BTCHW)
        state, by_step = model.init_state(2, 64, 48), []
        for frame_BCHW in x_BTCHW.unbind(1):
            logits_BK, state = model.step(frame_BCHW, state)
            by_step.append(logits_BK)
        alone = model.step(x_BTCHW[:, -1])[0]
    scale = expected.abs().max().item()
    torch.testing.assert_close(torch.stack(by_step, 1), expected, atol=1e-5 * scale, rtol=0)
    if model.memory or model.shift:  # the past matters, so that the comparison says something
        assert (alone - expected[:, -1]).abs().max() > 1e-3 * scale
    assert state.num_frames_B.tolist() == [5, 5]


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_chunks_of_any_sizes_are_the_clip(model: Recognizer, sizes: list[int]) -> None:
    model = model.double()
    x_BTCHW = frames(sum(sizes), height=32, width=32).double()
    state, by_chunk = None, []
    with torch.inference_mode():
        for chunk_BTCHW in x_BTCHW.split(sizes, dim=1):
            logits_BTK, state = model.step(chunk_BTCHW, state)
            by_chunk.append(logits_BTK)
        torch.testing.assert_close(torch.cat(by_chunk, 1), model.forward_frames(x_BTCHW), atol=1e-9, rtol=0)
    model.float()


def test_a_state_is_not_changed_and_nothing_is_kept_in_the_model(model: Recognizer) -> None:
    x_BTCHW = frames(3)
    with torch.inference_mode():
        _, state = model.step(x_BTCHW[:, :2])
        before = {name: tensor.clone() for name, tensor in state.tensors().items()}
        first, _ = model.step(x_BTCHW[:, 2], state)
        model.step(frames(4, batch=3, height=32))  # other streams, of another size
        model.forward_frames(x_BTCHW)
        second, _ = model.step(x_BTCHW[:, 2], state)
    assert torch.equal(first, second)
    assert all(torch.equal(before[name], tensor) for name, tensor in state.tensors().items())


def test_zeros_are_the_state_before_the_first_frame(model: Recognizer) -> None:
    x_BCHW = frames(1)[:, 0]
    statistics = copy.deepcopy(model.state_dict())
    with torch.inference_mode():
        state = model.init_state(2, 64, 48)
        assert torch.equal(model.step(x_BCHW, state)[0], model.step(x_BCHW)[0])
    assert all(not tensor.any() for tensor in state.tensors().values())
    model.train()
    assert model.init_state(1, 32, 32).batch_size == 1
    model.eval()
    assert all(torch.equal(statistics[name], tensor) for name, tensor in model.state_dict().items())


def test_rows_are_streams(model: Recognizer) -> None:
    x_BTCHW = frames(3, batch=3)
    with torch.inference_mode():
        _, state = model.step(x_BTCHW[:, :2])
        logits_BK, _ = model.step(x_BTCHW[:, 2], state)
        picked, _ = model.step(x_BTCHW[[2, 0], 2], state.rows([2, 0]))
    torch.testing.assert_close(picked, logits_BK[[2, 0]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["tsn_resnet10t", "gru_resnet10t", "convlstm_resnet10t", "lsn_resnet10t"])
def test_the_size_is_what_the_cost_says(name: str) -> None:
    model = awake(name)
    state = model.init_state(1, 64, 64)
    counter = state.num_frames_B.nbytes
    assert state.num_bytes - counter == model_cost(model, height=64, width=64).state_bytes
    assert model.init_state(7, 64, 64).num_bytes == 7 * state.num_bytes


def test_the_cost_counts_what_a_causal_shift_carries() -> None:
    model = awake("tsm_resnet10t", shift="causal")
    assert model.init_state(1, 64, 64).num_bytes - 8 == model_cost(model, height=64, width=64).state_bytes > 0


def test_gradients_flow_through_states() -> None:
    model = awake("lsn_ss_test_resnet", shift="causal")
    plain, chunked = copy.deepcopy(model), copy.deepcopy(model)
    x_BTCHW = frames(4, height=32, width=32)
    plain.forward_frames(x_BTCHW).square().sum().backward()
    first, state = chunked.step(x_BTCHW[:, :2])
    second, _ = chunked.step(x_BTCHW[:, 2:], state)
    (first.square().sum() + second.square().sum()).backward()
    for (name, a), b in zip(plain.named_parameters(), chunked.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-4 * a.grad.abs().max().item() + 1e-6, rtol=1e-3, msg=name)


@pytest.mark.parametrize("name", ["tsm_resnet10t", "lsn_ss_resnet10t"])
def test_a_model_that_looks_ahead_says_how_to_get_a_causal_one(name: str) -> None:
    model = awake(name)
    for act in (lambda: model.step(frames(1)[:, 0]), lambda: model.init_state(1, 64, 64)):
        with pytest.raises(ModelError, match=rf"{name} cannot stream.*lsn train stream model.name={name}"):
            act()


def test_states_that_do_not_fit_are_refused(model: Recognizer) -> None:
    x_BCHW = frames(1)[:, 0]
    for size in ((1, 64, 48), (2, 48, 64)):
        with pytest.raises(ModelError, match=rf"of {size[0]} streams of {size[2]}x{size[1]} .*init_state\(2, 64, 48\)"):
            model.step(x_BCHW, model.init_state(*size))
    for other in (awake("lsn_test_resnet"), awake("lsn_ss_test_resnet", shift="causal", steps=4)):
        with pytest.raises(ModelError, match="another model than lsn_ss_test_resnet"):
            model.step(x_BCHW, other.init_state(2, 64, 48))
    for size in ((0, 64, 48), (2, 0, 48)):
        with pytest.raises(ModelError, match="at least 1"):
            model.init_state(*size)


def test_frames_of_a_wrong_shape_are_refused(model: Recognizer) -> None:
    for shape in ((2, 1, 64, 48), (2, 3, 0, 48), (3, 64, 48)):
        with pytest.raises(ModelError, match="expected clips"):
            model.step(torch.zeros(shape))


def save(path, state, model, **extra) -> None:
    save_state(path, state, model_name=model.name, fingerprint=weights_fingerprint(model), **extra)


def load(path, model):
    return load_state(path, model=model, fingerprint=weights_fingerprint(model))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    state = model.init_state(2, 32, 32).map(lambda tensor: tensor + 1)
    path = tmp_path_factory.mktemp("saved") / "state"
    save(path, state, model, extra={"more": np.arange(3.0)})
    return path, path.read_bytes(), state


class TestFiles:
    def test_a_saved_state_comes_back_bit_for_bit(self, model, tmp_path):
        with torch.inference_mode():
            _, state = model.step(frames(3))
        extra = {"more": np.arange(3.0)}
        save(tmp_path / "new" / "state.safetensors", state, model, extra=extra)
        loaded, more = load(tmp_path / "new" / "state.safetensors", model)
        assert (loaded.height, loaded.width) == (64, 48)
        assert loaded.tensors().keys() == state.tensors().keys()
        assert all(torch.equal(tensor, state.tensors()[name]) for name, tensor in loaded.tensors().items())
        assert np.array_equal(more["more"], extra["more"])
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.safetensors"]

    def test_other_weights_of_the_same_model_are_refused(self, model, tmp_path):
        save(tmp_path / "state", model.init_state(1, 64, 48), model)
        other = copy.deepcopy(model)
        with torch.no_grad():
            next(other.parameters()).view(-1)[0] += 1e-3
        with pytest.raises(WeightsError, match="state: the state of a stream of lsn_ss_test_resnet with other weights"):
            load(tmp_path / "state", other)
        assert weights_fingerprint(model) == weights_fingerprint(copy.deepcopy(model))

    def test_files_that_are_no_states_are_refused(self, model, tmp_path):
        with pytest.raises(WeightsError, match=r"missing: no such file"):
            load(tmp_path / "missing", model)
        (tmp_path / "text").write_text("hello")
        with pytest.raises(WeightsError, match="text: not the state of a stream"):
            load(tmp_path / "text", model)
        save_file({"a": torch.zeros(1)}, tmp_path / "weights")
        with pytest.raises(WeightsError, match="weights: not the state of a stream"):
            load(tmp_path / "weights", model)
        save(tmp_path / "state", model.init_state(1, 64, 48), model)
        whole = (tmp_path / "state").read_bytes()
        (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WeightsError, match="half: not the state of a stream"):
            load(tmp_path / "half", model)

    def test_the_file_is_plain_safetensors(self, model, tmp_path):
        save(tmp_path / "state", model.init_state(2, 64, 48), model)
        assert load_file(tmp_path / "state")["num_frames"].tolist() == [0, 0]

    @pytest.mark.parametrize("version", ["1", "2", "3", "5"])
    def test_files_of_other_versions_are_refused(self, model, tmp_path, version):
        save(tmp_path / "state", model.init_state(1, 64, 48), model)
        rewrite(tmp_path / "state", about={"format_version": version})
        with pytest.raises(WeightsError, match="not the state of a stream that this LSN reads"):
            load(tmp_path / "state", model)

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_a_flipped_bit_is_an_error_or_changes_nothing(self, model, saved, data):
        path, whole, state = saved
        content = bytearray(whole)
        header_bytes = 8 + int.from_bytes(content[:8], "little")
        part = data.draw(st.sampled_from([(0, header_bytes - 1), (header_bytes, len(content) - 1)]))
        place = data.draw(st.integers(*part))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        try:
            loaded, extra = load(path, model)
        except WeightsError as error:
            assert str(path) in str(error)
        else:
            assert place < header_bytes
            assert all(torch.equal(tensor, state.tensors()[name]) for name, tensor in loaded.tensors().items())
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
            ({}, ["height"], {}, "frames of '48' x '' pixels"),
            ({"height": "-64"}, [], {}, "frames of '48' x '-64' pixels"),
            ({"height": "64.0"}, [], {}, "pixels"),
            ({"height": "9" * 5000}, [], {}, "pixels"),
            ({"height": "\u0664"}, [], {}, "pixels"),
            ({"height": "0"}, [], {}, "pixels"),
            ({"height": "99999", "width": "99999"}, [], {}, "expected 2x"),
            ({"height": "65"}, [], {}, "expected 2x"),
            ({}, [], {"num_frames": None}, "no num_frames"),
            ({}, [], {"num_frames": torch.zeros(2)}, "num_frames is 2 float32, expected 2 int64"),
            ({}, [], {"num_frames": torch.tensor([0, -1])}, "a number of frames under 0"),
            ({}, [], {"num_frames": torch.tensor(0)}, "a damaged state of a stream"),
            ({}, [], {"num_frames": torch.zeros(3, dtype=torch.int64)}, "memory.0.past_BPHW is 2x"),
            ({}, [], {"memory.0.cell_BDHW": None}, "no memory.0.cell_BDHW"),
            ({}, [], {"memory.0.cell_BDHW": torch.zeros(2, 1, 1, 1)}, "memory.0.cell_BDHW is 2x1x1x1 float32"),
            ({}, [], {"memory.9.cell_BDHW": torch.zeros(2, 1, 1, 1)}, "unknown 'memory.9.cell_BDHW'"),
            ({}, [], {"memory.x": torch.zeros(1)}, "unknown 'memory.x'"),
        ],
    )
    def test_what_no_state_can_hold_is_refused(self, model, tmp_path, about, without, tensors, said):
        path = tmp_path / "state"
        save(path, model.init_state(2, 64, 48), model)
        rewrite(path, about=about, without=without, tensors=tensors, sign="checksum" not in said)
        with pytest.raises(WeightsError) as caught:
            load(path, model)
        assert said in str(caught.value)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000

    def test_a_file_of_more_than_a_state_can_have_is_not_read(self, model, tmp_path):
        save(tmp_path / "state", model.init_state(2, 64, 48), model)
        with (tmp_path / "state").open("r+b") as file:
            file.truncate(1 << 41)
        with pytest.raises(WeightsError, match="at most 1,073,741,824"):
            load(tmp_path / "state", model)


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
