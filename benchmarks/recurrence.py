"""The HO-ConvLSTM beside its equations written down literally, and beside Keras' ConvLSTM2D.

Over 16 frames of maps of the size of each stage of a ResNet-50, from the reduced input z to the hidden states. Both
sides have the same weights, and how far each is from the literal side in float64 on the CPU is told first. The literal
side does what the equations say at each frame: N convolutions over concatenated windows, N - 1 from A to A, one from z
and one from A_N to the gates. The rows of a stage: a call for inference, and the part of it after the convolution from
z; a call with its gradients; and the time over that of the convolutions alone, all frames in one batch, which no
recurrence can beat.

    python benchmarks/recurrence.py
    python benchmarks/recurrence.py --literal-format contiguous
    python benchmarks/recurrence.py --device cuda --precision bf16 --batch 16
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from interleave import compare, full_float32
from torch import Tensor

from lsn.hardware import tune_allocator
from lsn.models import ConvLSTM, HOConvLSTM

STAGES = ((256, 56), (512, 28), (1024, 14), (2048, 7))
NUM_FRAMES = 16
LARGEST_DIFFERENCE = {"float32": 1e-5, "bf16": 2e-2}
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--shrink", type=int, default=1, help="divides the sides of the maps, for a quick look")
    parser.add_argument("--literal-format", choices=FORMATS, default="channels_last", help="memory of the literal side")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    tune_allocator()
    with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
        for channels, side in STAGES:
            torch.manual_seed(0)
            block = HOConvLSTM(channels).eval().to(options.device, memory_format=torch.channels_last)
            other = copy.deepcopy(block).to(memory_format=FORMATS[options.literal_format])
            N, D, side = options.batch * NUM_FRAMES, block.hidden_channels, max(1, side // options.shrink)
            z_NDHW = torch.randn(N, D, side, side).relu().to(options.device)
            ours = z_NDHW.contiguous(memory_format=torch.channels_last).unflatten(0, (-1, NUM_FRAMES))
            theirs = z_NDHW.contiguous(memory_format=FORMATS[options.literal_format]).unflatten(0, (-1, NUM_FRAMES))
            name = f"{channels} channels, {side}x{side}"
            compare_stage(name, (block, ours), (other, theirs), options)
    if options.device == "cpu":
        if find_spec("keras"):
            compare_keras(options)
        else:
            print("Keras is not installed, so it is not compared with: .venv/bin/pip install keras")
    return 0


def compare_stage(
    name: str, ours: tuple[HOConvLSTM, Tensor], theirs: tuple[HOConvLSTM, Tensor], options: argparse.Namespace
) -> None:
    (block, z_BTDHW), turns = ours, options.turns
    with torch.no_grad(), full_float32():
        exact = literal(copy.deepcopy(block).cpu().double(), z_BTDHW[:1].cpu().double())
        far = [(run(*side)[:1].cpu() - exact).abs().max() for run, side in ((fast, ours), (literal, theirs))]
    print(f"{name}: largest difference from float64, ours {far[0]:.1e}, literal {far[1]:.1e}")
    if max(far) > LARGEST_DIFFERENCE[options.precision]:
        raise SystemExit("the sides do not compute the same")
    with torch.inference_mode():
        compare(f"  {name}, literal / ours, inference", lambda: literal(*theirs), lambda: fast(*ours), turns)
        our_gates, their_gates = (
            block.input_gates(z.flatten(0, 1)).unflatten(0, (-1, NUM_FRAMES)) for block, z in (ours, theirs)
        )
        compare(
            f"  {name}, literal / ours, inference after z",
            lambda: literal(*theirs, their_gates),
            lambda: fast(*ours, our_gates),
            turns,
        )
        compare(f"  {name}, ours / its convolutions alone", lambda: fast(*ours), convolutions(*ours), turns)
    compare(
        f"  {name}, literal / ours, with gradients",
        lambda: gradients(literal, *theirs),
        lambda: gradients(fast, *ours),
        max(3, turns // 2),
    )


def fast(block: ConvLSTM, z_BTDHW: Tensor, gates_BTGHW: Tensor | None = None) -> Tensor:
    """The hidden states, BTDHW; what z gives to the gates may be given."""
    B, T, _, H, W = z_BTDHW.shape
    if gates_BTGHW is None:
        gates_BTGHW = block.input_gates(z_BTDHW.flatten(0, 1)).unflatten(0, (B, T))
    return block.cell(gates_BTGHW, *block.init_state(B, H, W), block.accumulation(H, W))[0]


def literal(block: HOConvLSTM, z_BTDHW: Tensor, gates_BTGHW: Tensor | None = None) -> Tensor:
    """The same from the equations of docs/model.md."""
    ats = block.accumulate
    N, L, D = ats.order, ats.window_length, block.hidden_channels
    kernels, biases = ats.windows.weight.chunk(N), ats.windows.bias.chunk(N)
    U, W = block.input_gates, block.cell.recurrent_gates
    zero = torch.zeros_like(z_BTDHW[:, 0])
    history, cell, hidden = [zero] * (N + L - 1), zero, []
    for t, z_BDHW in enumerate(z_BTDHW.unbind(1)):
        accumulated = None
        for number in range(N):
            window = torch.cat(history[number : number + L], dim=1)
            projection = F.conv2d(window, kernels[number], biases[number], padding=kernels[number].shape[-1] // 2)
            accumulated = projection if accumulated is None else projection + ats.carry[number - 1](accumulated)
        from_z = F.conv2d(z_BDHW, U.weight, U.bias, padding=U.padding) if gates_BTGHW is None else gates_BTGHW[:, t]
        i, f, o, g = (from_z + F.conv2d(accumulated, W.weight, padding=W.padding)).split(D, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        history = [*history[1:], o.sigmoid() * cell.tanh()]
        hidden.append(history[-1])
    return torch.stack(hidden, dim=1)


def gradients(run: Callable[[HOConvLSTM, Tensor], Tensor], block: HOConvLSTM, z_BTDHW: Tensor) -> None:
    z_BTDHW = z_BTDHW.detach().requires_grad_()
    hidden_BTDHW = run(block, z_BTDHW)
    learned = [*block.accumulate.parameters(), *block.cell.parameters(), *block.input_gates.parameters()]
    torch.autograd.grad(hidden_BTDHW, [z_BTDHW, *learned], torch.ones_like(hidden_BTDHW))


def convolutions(block: HOConvLSTM, z_BTDHW: Tensor) -> Callable[[], object]:
    """All convolutions of the block's recurrence over all frames at once."""
    z_NDHW, kernel = z_BTDHW.flatten(0, 1), block.accumulate.kernel()

    def maps(channels: int) -> Tensor:
        shape = len(z_NDHW), channels, *z_NDHW.shape[2:]
        return torch.randn(shape, device=z_NDHW.device).contiguous(memory_format=torch.channels_last)

    joint, recalled = maps(kernel.shape[1]), maps(block.cell.recurrent_gates.in_channels)
    padding = kernel.shape[-1] // 2
    return lambda: (
        block.input_gates(z_NDHW),
        F.conv2d(joint, kernel, padding=padding),
        block.cell.recurrent_gates(recalled),
    )


def compare_keras(options: argparse.Namespace) -> None:
    """Keras' ConvLSTM2D on PyTorch against the same layer here, with Keras' weights."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    D, side = 32, max(1, 28 // options.shrink)
    layer = keras.layers.ConvLSTM2D(
        D, 3, padding="same", return_sequences=True, activation="tanh", recurrent_activation="sigmoid"
    )
    z_BTHWD = torch.randn(options.batch, NUM_FRAMES, side, side, D)
    expected = layer(z_BTHWD).detach()
    block = ConvLSTM(D, reduction=1).eval().to(memory_format=torch.channels_last)
    kernel, recurrent, bias = (torch.tensor(weight.numpy()) for weight in layer.weights)  # gates i, f, c, o; HWIO
    order = torch.cat([torch.arange(D) + gate * D for gate in (0, 1, 3, 2)])
    with torch.no_grad():
        block.input_gates.weight.copy_(kernel.permute(3, 2, 0, 1)[order])
        block.input_gates.bias.copy_(bias[order])
        block.cell.recurrent_gates.weight.copy_(recurrent.permute(3, 2, 0, 1)[order])
        z_BTDHW = z_BTHWD.permute(0, 1, 4, 2, 3)
        difference = (fast(block, z_BTDHW).permute(0, 1, 3, 4, 2) - expected).abs().max()
        print(f"plain ConvLSTM of {D} channels, {side}x{side}: largest difference {difference:.1e}")
        compare("  Keras / ours, inference", lambda: layer(z_BTHWD), lambda: fast(block, z_BTDHW), options.turns)


if __name__ == "__main__":
    sys.exit(main())
