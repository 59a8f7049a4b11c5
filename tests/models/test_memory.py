"""The memory blocks against other people's code and the equations written down."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lsn.errors import ModelError
from lsn.models import AccumulatedTemporaryState, ConvLSTM, ConvLSTMCell, HOConvLSTM, MemoryState
from lsn.models.layout import frames_channels_last
from lsn.models.memory.conv_lstm import GateConv
from lsn.models.memory.reference import accumulated_state, memory_block


def randomized(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module in eval mode with every parameter and statistic moved away from its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator))
    return module.eval()


def test_conv_lstm_equals_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras was loaded with another backend")
    B, T, C, D, H, W = 2, 5, 3, 4, 6, 7
    layer = keras.layers.ConvLSTM2D(
        D, 3, padding="same", return_sequences=True, activation="tanh", recurrent_activation="sigmoid"
    )
    x_BTHWC = torch.randn(B, T, H, W, C)
    expected_BTHWD = torch.as_tensor(layer(x_BTHWC)).detach()

    kernel, recurrent_kernel, bias = (torch.tensor(w.numpy()) for w in layer.weights)  # gates i, f, c, o; HWIO
    i, f, g, o = range(4)
    order = torch.cat([torch.arange(D) + gate * D for gate in (i, f, o, g)])
    cell = ConvLSTMCell(D, D, kernel_size=3)
    cell.recurrent_gates.weight.data = recurrent_kernel.permute(3, 2, 0, 1)[order]
    input_weight = kernel.permute(3, 2, 0, 1)[order]
    input_gates = GateConv(C, 4 * D, 3, padding=1)
    input_gates.weight.data, input_gates.bias.data = input_weight, bias[order]
    gates = input_gates(x_BTHWC.flatten(0, 1).permute(0, 3, 1, 2))
    zero = torch.zeros(B, D, H, W)
    hidden_BTDHW, last, _ = cell(gates.unflatten(0, (B, T)), zero, zero)
    torch.testing.assert_close(hidden_BTDHW.permute(0, 1, 3, 4, 2), expected_BTHWD, atol=1e-5, rtol=1e-5)
    assert torch.equal(last, hidden_BTDHW[:, -1])


def state_by_state(ats: AccumulatedTemporaryState, past: dict[int, Tensor], t: int, S: int, N: int) -> Tensor:
    """P_l and A_l as in docs/model.md, one kernel slice and one state at a time."""
    L = S - N + 1
    R = ats.windows.out_channels // N
    accumulated = None
    for window in range(1, N + 1):
        rows = slice((window - 1) * R, window * R)
        K_l, b_l = ats.windows.weight[rows], ats.windows.bias[rows]
        D = K_l.shape[1] // L
        P_l = b_l.view(1, -1, 1, 1)
        for position in range(L):
            state = past[t - S + window - 1 + position]
            P_l = P_l + F.conv2d(state, K_l[:, position * D : (position + 1) * D], padding=K_l.shape[-1] // 2)
        if accumulated is None:
            accumulated = P_l
        else:
            V_l = ats.carry[window - 2]
            accumulated = P_l + F.conv2d(accumulated, V_l.weight, V_l.bias, padding=V_l.padding)
    return accumulated


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3), st.sampled_from([1, 3, 5]), st.integers(1, 3))
def test_the_reference_accumulates_as_the_equations_say(order: int, extra: int, kernel_size: int, rank: int) -> None:
    steps, D, t = order + extra, 3, 7
    ats = AccumulatedTemporaryState(D, order=order, steps=steps, rank=rank, kernel_size=kernel_size).double()
    past = {t - age: torch.randn(2, D, 5, 4, dtype=torch.float64) for age in range(1, steps + 1)}
    got = accumulated_state(ats, [past[t - age] for age in range(steps, 0, -1)])
    torch.testing.assert_close(got, state_by_state(ats, past, t, steps, order))


LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def frames_in(layout: str, *shape: int, **options: Any) -> Tensor:
    """Noise BTCHW whose frames lie in a layout."""
    x_BTCHW = torch.randn(*shape, **options)
    return frames_channels_last(x_BTCHW) if layout == "channels_last" else x_BTCHW


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(list(LAYOUTS)),
    st.booleans(),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 3),
    st.integers(1, 7),
)
def test_blocks_and_their_gradients_equal_the_reference(
    layout: str, training: bool, order: int, extra: int, kernel_size: int, rank: int, num_frames: int
) -> None:
    """Order 0 is the plain ConvLSTM."""
    block = randomized(
        HOConvLSTM(8, order=order, steps=order + extra, rank=rank, kernel_size=kernel_size)
        if order
        else ConvLSTM(8, kernel_size=kernel_size)
    )
    block = block.train(training).to(torch.float64, memory_format=LAYOUTS[layout])
    x_BTCHW = frames_in(layout, 2, num_frames, 8, 5, 4, dtype=torch.float64).requires_grad_()
    expected = memory_block(block, x_BTCHW)
    got, _ = block(x_BTCHW)
    torch.testing.assert_close(got, expected)
    with torch.no_grad():
        torch.testing.assert_close(block(x_BTCHW)[0], expected)
    direction = torch.randn_like(expected)
    inputs = [x_BTCHW, *block.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs, direction), torch.autograd.grad(expected, inputs, direction)
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("of_weights", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_output_and_the_gradient_lie_as_the_input_does(layout: str, of_weights: str, training: bool) -> None:
    block = HOConvLSTM(32).train(training).to(memory_format=LAYOUTS[of_weights])
    x_BTCHW = frames_in(layout, 2, 3, 32, 5, 4)
    x_BTCHW.requires_grad_()
    y_BTCHW, _ = block(x_BTCHW)
    (gradient,) = torch.autograd.grad(y_BTCHW, x_BTCHW, torch.ones_like(y_BTCHW))
    for frames in (y_BTCHW, gradient):
        assert frames.flatten(0, 1).is_contiguous(memory_format=LAYOUTS[layout])


def test_layers_around_the_recurrence_see_maps_and_gradients_in_one_layout() -> None:
    """Where the two differ, norms and activations take many times as long to go backward."""
    block = HOConvLSTM(32)
    contiguous: list[bool] = []
    for layer in (block.reduce[1], block.reduce[2], block.expand[1]):
        layer.register_forward_pre_hook(lambda _layer, inputs: contiguous.append(inputs[0].is_contiguous()))
        layer.register_full_backward_hook(
            lambda _layer, _inputs, outputs: contiguous.append(outputs[0].is_contiguous())
        )
    block.reduce[2].inplace = False  # what a module with a backward hook reads or returns must not be written over
    y_BTCHW, _ = block(torch.randn(2, 3, 32, 5, 4, requires_grad=True))
    y_BTCHW.square().sum().backward()
    assert contiguous == 6 * [True]


@pytest.mark.parametrize("make", [ConvLSTM, HOConvLSTM])
def test_a_fresh_block_is_the_identity(make: type[ConvLSTM]) -> None:
    x_BTCHW = torch.randn(2, 4, 32, 6, 5)
    for block in (make(32), make(32).eval()):
        assert torch.equal(block(x_BTCHW)[0], x_BTCHW)


@pytest.mark.parametrize("make", [ConvLSTM, HOConvLSTM])
def test_a_block_that_does_not_start_at_zero_adds_what_it_remembers(make: type[ConvLSTM]) -> None:
    x_BTCHW = torch.randn(1, 2, 32, 6, 5)
    block = make(32, zero_init=False)
    assert (block(x_BTCHW)[0] - x_BTCHW).std() > 0.5, "its norm has unit scale"
    block.eval()
    assert not torch.equal(block(x_BTCHW)[0][:, 1:], block(x_BTCHW[:, 1:])[0])


@settings(max_examples=20, deadline=None)
@given(
    st.booleans(), st.integers(1, 3), st.integers(0, 2), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data()
)
def test_pieces_with_the_state_handed_on_equal_the_whole(
    high_order: bool, order: int, extra: int, pieces: list[int], data: st.DataObject
) -> None:
    block = randomized(HOConvLSTM(8, order=order, steps=order + extra) if high_order else ConvLSTM(8)).double()
    x_BTCHW = torch.randn(2, sum(pieces), 8, 4, 3, dtype=torch.float64)
    whole, last = block(x_BTCHW)
    state: MemoryState | None = None
    parts = []
    for piece in x_BTCHW.split(pieces, dim=1):
        part, state = block(piece, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert state is not None
    torch.testing.assert_close(tuple(state), tuple(last))


def test_later_frames_never_change_earlier_ones_and_order_matters() -> None:
    block = randomized(HOConvLSTM(16)).double()
    x_BTCHW = torch.randn(1, 6, 16, 4, 4, dtype=torch.float64)
    changed = x_BTCHW.clone()
    changed[:, 4:] += 1
    before, after = block(x_BTCHW)[0], block(changed)[0]
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])
    backwards = block(x_BTCHW.flip(1))[0].flip(1)
    assert not torch.allclose(backwards, before)


@pytest.mark.parametrize("make", [lambda: ConvLSTM(4), lambda: HOConvLSTM(4, order=2, steps=3, rank=2)])
def test_gradients_of_clip_and_state_equal_finite_differences(make: Callable[[], ConvLSTM]) -> None:
    block = randomized(make()).double()
    x_BTCHW = torch.randn(1, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    state = [torch.randn_like(part, requires_grad=True) for part in block.init_state(1, 2, 2)]

    def run(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        y, after = block(x, MemoryState(*state))
        return y, *after

    assert torch.autograd.gradcheck(run, (x_BTCHW, *state))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_cell_stays_in_float32_under_autocast(layout: str) -> None:
    torch.manual_seed(0)
    block = HOConvLSTM(16)
    torch.nn.init.ones_(block.expand[1].weight)
    x_BTCHW = frames_in(layout, 2, 4, 16, 6, 5)
    expected, _ = block(x_BTCHW)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, state = block(x_BTCHW)
    assert {state.past_BPHW.dtype, state.cell_BDHW.dtype} == {torch.float32}
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)
    inputs = list(block.parameters())
    gradients = zip(
        torch.autograd.grad(got.float().square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    )
    for found, right in gradients:
        assert (found - right).norm() <= 0.1 * right.norm() + 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_block_of_another_type_works_in_that_type(dtype: torch.dtype) -> None:
    y_BTCHW, state = HOConvLSTM(32).to(dtype)(torch.randn(1, 3, 32, 4, 4, dtype=dtype))
    assert {y_BTCHW.dtype, state.past_BPHW.dtype, state.cell_BDHW.dtype} == {dtype}


def test_sizes_follow_the_design() -> None:
    block = HOConvLSTM(2048)
    assert (block.hidden_channels, block.accumulate.order, block.accumulate.window_length) == (128, 3, 1)
    assert block.cell.recurrent_gates.in_channels == 32  # rank: D // 4
    assert HOConvLSTM(64).hidden_channels == 16
    assert HOConvLSTM(64).cell.recurrent_gates.in_channels == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": 0}, "channels is 0"),
        ({"kernel_size": 2}, "kernel_size is 2; it must be odd"),
        ({"order": 4}, "steps is 3 and order 4"),
        ({"order": 0}, "order is 0"),
        ({"rank": 0}, "rank is 0"),
        ({"reduction": 0}, "reduction is 0"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict[str, int], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        HOConvLSTM(**{"channels": 8, **options})
