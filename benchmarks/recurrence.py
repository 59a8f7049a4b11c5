"""The HO-ConvLSTM beside its equations written down literally, and beside Keras' ConvLSTM2D.

Over 16 frames of maps of the size of each stage of a ResNet-50. The literal side, `lsn.models.memory.reference`, does
what the equations say at each frame: N convolutions over concatenated windows, N - 1 from A to A, one from z and one
from A_N to the gates. Both sides have the same weights, and are compared before they are timed.

Rows of the recurrence, from the reduced input z to the hidden states: a call for inference, and the part of it after
the convolution from z; a call with its gradients; and the time over that of the convolutions alone, all frames in one
batch, which no recurrence can beat. How far each side is from float64 on the CPU is printed first.

Rows of the whole block, reduced and expanded as it stands in a network: inference and a training step, each in
channels_last and in PyTorch's default layout. Everything around the recurrence is the same on both sides.

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
from lsn.models.memory.reference import hidden_states, memory_block

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
            for layout in FORMATS:
                compare_blocks(f"{name}, {layout}", HOConvLSTM(channels), side, layout, options)
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
        exact = hidden_states(copy.deepcopy(block).cpu().double(), z_BTDHW[:1].cpu().double())
        far = [(run(*side)[:1].cpu() - exact).abs().max() for run, side in ((fast, ours), (hidden_states, theirs))]
    print(f"{name}: largest difference from float64, ours {far[0]:.1e}, literal {far[1]:.1e}")
    if max(far) > LARGEST_DIFFERENCE[options.precision]:
        raise SystemExit("the sides do not compute the same")
    with torch.inference_mode():
        compare(f"  {name}, literal / ours, inference", lambda: hidden_states(*theirs), lambda: fast(*ours), turns)
        our_gates = block.input_gates(z_BTDHW.flatten(0, 1)).unflatten(0, (-1, NUM_FRAMES))
        their_block, their_z = theirs
        U = their_block.input_gates
        their_gates = F.conv2d(their_z.flatten(0, 1), U.weight, U.bias, padding=U.padding)
        their_gates = their_gates.unflatten(0, (-1, NUM_FRAMES))
        compare(
            f"  {name}, literal / ours, inference after z",
            lambda: hidden_states(*theirs, their_gates),
            lambda: fast(*ours, our_gates),
            turns,
        )
        compare(f"  {name}, ours / its convolutions alone", lambda: fast(*ours), convolutions(*ours), turns)
    compare(
        f"  {name}, literal / ours, with gradients",
        lambda: gradients(hidden_states, *theirs),
        lambda: gradients(fast, *ours),
        max(3, turns // 2),
    )


def compare_blocks(name: str, block: HOConvLSTM, side: int, layout: str, options: argparse.Namespace) -> None:
    """The whole block on both sides, in a layout of maps and weights."""
    block = block.to(options.device, memory_format=FORMATS[layout])
    torch.nn.init.uniform_(block.expand[1].weight)  # freshly made it is zero, and so is all that the block adds
    shape = options.batch * NUM_FRAMES, len(block.expand[1].weight), side, side
    x_NCHW = torch.randn(shape, device=options.device).contiguous(memory_format=FORMATS[layout])
    x_BTCHW = x_NCHW.unflatten(0, (-1, NUM_FRAMES))

    def ours(x: Tensor) -> Tensor:
        return block(x)[0]

    def theirs(x: Tensor) -> Tensor:
        return memory_block(block, x)

    block.eval()
    with torch.inference_mode():
        with full_float32():
            difference = (ours(x_BTCHW) - theirs(x_BTCHW)).abs().max()
        if difference > 10 * LARGEST_DIFFERENCE[options.precision]:  # the last norm spreads it
            raise SystemExit(f"the blocks do not compute the same: {difference:.1e}")
        label, turns = f"  {name}, whole block, literal / ours", options.turns
        compare(f"{label}, inference", lambda: theirs(x_BTCHW), lambda: ours(x_BTCHW), turns)
    block.train()
    compare(f"{label}, training", lambda: step(theirs, block, x_BTCHW), lambda: step(ours, block, x_BTCHW), turns)


def step(run: Callable[[Tensor], Tensor], block: HOConvLSTM, x_BTCHW: Tensor) -> None:
    x_BTCHW = x_BTCHW.detach().requires_grad_()
    y_BTCHW = run(x_BTCHW)
    torch.autograd.grad(y_BTCHW, [x_BTCHW, *block.parameters()], torch.ones_like(y_BTCHW))


def fast(block: ConvLSTM, z_BTDHW: Tensor, gates_BTGHW: Tensor | None = None) -> Tensor:
    """The hidden states, BTDHW; what z gives to the gates may be given."""
    B, T, _, H, W = z_BTDHW.shape
    if gates_BTGHW is None:
        gates_BTGHW = block.input_gates(z_BTDHW.flatten(0, 1)).unflatten(0, (B, T))
    return block.cell(gates_BTGHW, *block.init_state(B, H, W), block.accumulation(H, W))[0]


def gradients(run: Callable[[HOConvLSTM, Tensor], Tensor], block: HOConvLSTM, z_BTDHW: Tensor) -> None:
    z_BTDHW = z_BTDHW.detach().requires_grad_()
    hidden_BTDHW = run(block, z_BTDHW)
    learned = [*block.accumulate.parameters(), *block.cell.parameters(), *block.input_gates.parameters()]
    torch.autograd.grad(hidden_BTDHW, [z_BTDHW, *learned], torch.ones_like(hidden_BTDHW))


def convolutions(block: HOConvLSTM, z_BTDHW: Tensor) -> Callable[[], object]:
    """All convolutions of the block's recurrence over all frames at once."""
    z_NDHW, accumulate, W = z_BTDHW.flatten(0, 1), block.accumulate, block.cell.recurrent_gates
    window_kernel, carry_kernel, padding = accumulate.window_kernel(), accumulate.carry_kernel(), W.padding

    def maps(channels: int) -> Tensor:
        shape = len(z_NDHW), channels, *z_NDHW.shape[2:]
        return torch.randn(shape, device=z_NDHW.device).contiguous(memory_format=torch.channels_last)

    hidden, accumulated, recalled = maps(z_NDHW.shape[1]), maps(len(carry_kernel)), maps(W.in_channels)
    return lambda: (
        block.input_gates(z_NDHW),
        F.conv2d(hidden, window_kernel, padding=padding),
        F.conv2d(accumulated, carry_kernel, padding=padding, groups=len(accumulate.carry)),
        W(recalled),
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
