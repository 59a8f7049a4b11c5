import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import EVERY_CNN, awake

from lsn.errors import ModelError
from lsn.models import Recognizer
from lsn.models.cost import model_cost


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


@pytest.mark.parametrize("cnn", EVERY_CNN)
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
