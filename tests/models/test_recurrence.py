"""The operators of the recurrence as PyTorch's own tools see them: its checker, its compiler, its flop counter."""

import copy
from collections.abc import Iterator

import pytest
import tiny_cnn  # noqa: F401 (gives it to timm)
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import lsn
from lsn.models.fuse import fuse


@pytest.fixture(autouse=True)
def forgotten_graphs() -> Iterator[None]:
    """The compiler keeps a few graphs a function, and each model is another."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def recurrence_arguments(*, high_order: bool, requires_grad: bool) -> tuple[Tensor | None, ...]:
    B, T, D, R, H, W = 2, 3, 4, 3, 5, 6
    P = 6 * R if high_order else D  # order 3, windows of 2 states
    sizes = [(B, T, 4 * D, H, W), (B, P, H, W), (B, D, H, W), (4 * D, R if high_order else D, 3, 3)]
    sizes += [(P, D, 3, 3), (1, R, H, W), (2 * R, R, 3, 3)] if high_order else []
    given: list[Tensor | None] = [torch.randn(size, requires_grad=requires_grad) for size in sizes]
    return *given, *[None] * (7 - len(given))


@pytest.mark.parametrize("high_order", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_operators_are_what_they_say(high_order: bool, keep: bool) -> None:
    """PyTorch's checker: schema, shapes and strides without numbers, gradients, tracing."""
    given = recurrence_arguments(high_order=high_order, requires_grad=keep)
    torch.library.opcheck(torch.ops.lsn.recurrence, (*given, keep))


@pytest.mark.parametrize("high_order", [False, True])
def test_the_backward_operator_is_what_it_says(high_order: bool) -> None:
    given = recurrence_arguments(high_order=high_order, requires_grad=False)
    outputs = torch.ops.lsn.recurrence(*given, True)
    gradients = [torch.randn_like(output) for output in outputs[:3]]
    _, _, first_cell, gates_kernel, window_kernel, _, carry_kernel = given
    arguments = (*gradients, first_cell, gates_kernel, window_kernel, carry_kernel, outputs[0], *outputs[3:])
    torch.library.opcheck(torch.ops.lsn.recurrence_backward, arguments)


@pytest.mark.parametrize("used", [0, 1, 2])
def test_gradients_flow_from_each_output_alone(used: int) -> None:
    given = recurrence_arguments(high_order=True, requires_grad=True)
    outputs = torch.ops.lsn.recurrence(*given, True)[:3]
    weights = [float(number == used) for number in range(3)]
    alone = torch.autograd.grad(outputs[used].sum(), given, retain_graph=True)
    among = torch.autograd.grad(sum(w * output.sum() for w, output in zip(weights, outputs, strict=True)), given)
    torch.testing.assert_close(alone, among)


@pytest.mark.parametrize("high_order", [False, True])
def test_a_training_step_counts_three_times_the_flops(high_order: bool) -> None:
    given = recurrence_arguments(high_order=high_order, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        outputs = torch.ops.lsn.recurrence(*given, True)
        forward = counter.get_total_flops()
        (outputs[0].sum() + outputs[1].sum() + outputs[2].sum()).backward()
    assert forward > 0
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.slow
def test_the_compiler_takes_clips_in_one_graph_forward_and_backward() -> None:
    model = lsn.create_model("lsn_tiny_cnn", num_classes=5, dropout=0.0)
    for parameter in model.memory.parameters():
        torch.nn.init.uniform_(parameter, -0.3, 0.3)
    compiled_model = copy.deepcopy(model)
    compiled = torch.compile(compiled_model, fullgraph=True, backend="aot_eager")
    for clips in (2, 3):  # a second size of batches
        clip_BTCHW = torch.randn(clips, 4, 3, 64, 64)
        torch._dynamo.maybe_mark_dynamic(clip_BTCHW, 0)  # as `compile_model` does
        expected, got = model(clip_BTCHW), compiled(clip_BTCHW)
        torch.testing.assert_close(got, expected)
        expected.square().sum().backward()
        got.square().sum().backward()
    for (key, left), (_, right) in zip(compiled_model.named_parameters(), model.named_parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, atol=1e-4, rtol=1e-3, msg=key)


@pytest.mark.parametrize("shift", ["none", "causal"])
@pytest.mark.slow
def test_the_compiler_takes_steps_in_one_graph(shift: str) -> None:
    model = fuse(lsn.create_model("lsn_tiny_cnn", num_classes=5, shift=shift))
    step = torch.compile(model.step, fullgraph=True, backend="aot_eager")
    clip_BTCHW = torch.randn(2, 4, 3, 64, 64)
    state = None
    with torch.inference_mode():
        logits_BTK = model.forward_frames(clip_BTCHW)
        for number, frame_BCHW in enumerate(clip_BTCHW.unbind(1)):
            logits_BK, state = step(frame_BCHW, state)
            torch.testing.assert_close(logits_BK, logits_BTK[:, number], atol=1e-5, rtol=1e-4)
