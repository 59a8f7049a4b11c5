"""The memory blocks against other people's code and a slow, literal reading of the equations."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lsn.errors import ModelError
from lsn.models import AccumulatedTemporaryState, ConvLSTM, ConvLSTMCell, HOConvLSTM, MemoryState
from lsn.models.conv_lstm import GateConv
from lsn.models.layout import frames_channels_last


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


def literal_ats(ats: AccumulatedTemporaryState, past: dict[int, Tensor], t: int, S: int, N: int) -> Tensor:
    """P_l and A_l written down as in docs/model.md, one kernel slice and one state at a time."""
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


def literal_block(block: ConvLSTM, x_BTCHW: Tensor, order: int, steps: int) -> Tensor:
    """The whole block, frame by frame, from the equations; states before the start are zero."""
    S, D = max(steps, 1), block.hidden_channels
    B, T, _, H, W = x_BTCHW.shape
    zero = torch.zeros(B, D, H, W, dtype=x_BTCHW.dtype)
    hidden = dict.fromkeys(range(-S, 0), zero)
    cell, frames = zero, []
    for t in range(T):
        z_t = block.reduce(x_BTCHW[:, t])
        past = literal_ats(block.accumulate, hidden, t, S, order) if order else hidden[t - 1]
        W_h = block.cell.recurrent_gates
        U = block.input_gates
        gates = F.conv2d(z_t, U.weight, U.bias, padding=U.padding) + F.conv2d(past, W_h.weight, padding=W_h.padding)
        i, f, o, g = (gates[:, gate * D : (gate + 1) * D] for gate in range(4))
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden[t] = o.sigmoid() * cell.tanh()
        frames.append(x_BTCHW[:, t] + block.expand(hidden[t]))
    return torch.stack(frames, dim=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 4), st.integers(0, 3), st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(1, 7))
def test_blocks_and_their_gradients_equal_the_literal_equations(
    order: int, extra: int, kernel_size: int, rank: int, num_frames: int
) -> None:
    """Order 0 is the plain ConvLSTM."""
    steps = order + extra
    block = randomized(
        HOConvLSTM(8, order=order, steps=steps, rank=rank, kernel_size=kernel_size)
        if order
        else ConvLSTM(8, kernel_size=kernel_size)
    ).double()
    x_BTCHW = torch.randn(2, num_frames, 8, 5, 4, dtype=torch.float64, requires_grad=True)
    expected = literal_block(block, x_BTCHW, order, steps)
    got, _ = block(x_BTCHW)
    torch.testing.assert_close(got, expected)
    with torch.no_grad():
        torch.testing.assert_close(block(x_BTCHW)[0], expected)
    direction = torch.randn_like(expected)
    inputs = [x_BTCHW, *block.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs, direction), torch.autograd.grad(expected, inputs, direction)
    )


@pytest.mark.parametrize("make", [ConvLSTM, HOConvLSTM])
def test_a_fresh_block_is_the_identity(make: type[ConvLSTM]) -> None:
    x_BTCHW = torch.randn(2, 4, 32, 6, 5)
    for block in (make(32), make(32).eval()):
        assert torch.equal(block(x_BTCHW)[0], x_BTCHW)


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


def test_the_gradient_is_the_same_in_any_memory_format() -> None:
    block = randomized(HOConvLSTM(32)).double()
    x_BTCHW = torch.randn(2, 5, 32, 6, 4, dtype=torch.float64)
    expected = torch.autograd.grad(block(x_BTCHW)[0].square().sum(), list(block.parameters()))
    block.to(memory_format=torch.channels_last)
    got = torch.autograd.grad(block(frames_channels_last(x_BTCHW))[0].square().sum(), list(block.parameters()))
    torch.testing.assert_close(got, expected)


def test_the_cell_stays_in_float32_under_autocast() -> None:
    block = randomized(HOConvLSTM(16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = block(torch.randn(1, 3, 16, 4, 4))
    assert {state.past_BPHW.dtype, state.cell_BDHW.dtype} == {torch.float32}


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
