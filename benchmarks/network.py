"""Whole networks beside each other, forward and in a training step, in turns in one run.

    python benchmarks/network.py control                 # LSN against the same CNN without a memory
    python benchmarks/network.py peers                   # LSN against torchvision's video networks, each at its size
    python benchmarks/network.py length --size 112       # does a frame of a longer clip cost more?
    python benchmarks/network.py control --device cuda --precision bf16 --batch 16

All networks have random weights: what is computed does not depend on them. `control` also says how near the network
comes to the rate of a plain convolution over as many frames, and on a GPU the memory of a training step. `peers` prints
clips per second, and clips per second times the multiply-adds of a clip, which is the speed at which the network's
arithmetic runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from statistics import median

import torch
import torchvision
from interleave import compare, seconds
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import lsn
from lsn.hardware import tune_allocator
from lsn.models.layout import frames_channels_last

PEERS = {"r3d_18": (16, 112), "mc3_18": (16, 112), "r2plus1d_18": (16, 112), "swin3d_t": (16, 224)}
"""Frames and side of the clips that torchvision's weights were evaluated on; swin3d_t's have 32 frames, halved here."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("control", "peers", "length"))
    parser.add_argument("--model", default="lsn_resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512], help="of `length`")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="clips, of `control`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    tune_allocator()
    with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
        {"control": compare_control, "peers": compare_peers, "length": compare_lengths}[options.what](options)
    return 0


def compare_control(options: argparse.Namespace) -> None:
    """The memory's share of the time: the model against `tsn_` over the same CNN."""
    family = max((f for f in lsn.models.factory.FAMILIES if options.model.startswith(f"{f}_")), key=len)
    cnn = options.model.removeprefix(f"{family}_")
    ours, control = make(options.model), make(f"tsn_{cnn}")
    clip_BTCHW = frames_channels_last(torch.randn(options.batch, 16, 3, options.size, options.size))
    ratio = giga_macs(ours, clip_BTCHW) / giga_macs(control, clip_BTCHW)
    print(f"multiply-adds: {ratio:.3f} times those of tsn_{cnn}")
    name = f"{options.model} / tsn_{cnn}, {options.batch} x 16 frames of {options.size}"
    for what, run, passes in (("inference", infer, 1), ("training step", train, 3)):  # back to maps and to weights
        compare(f"{name}, {what}", run(ours, clip_BTCHW), run(control, clip_BTCHW), options.turns)
        compare_rates(run, passes, ours, clip_BTCHW, options.turns)


def compare_rates(
    run: Callable[[nn.Module, Tensor], Callable[[], object]],
    passes: int,
    model: nn.Module,
    clip_BTCHW: Tensor,
    turns: int,
) -> None:
    """Multiply-adds a second of the network, beside those of one 3x3 convolution of ResNet-50's third stage."""
    channels, side = 256, max(1, clip_BTCHW.shape[-1] // 16)
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x_NCHW = torch.randn(clip_BTCHW.shape[0] * clip_BTCHW.shape[1], channels, side, side)
    x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last).requires_grad_()
    sides = (model, clip_BTCHW), (convolution, x_NCHW)
    macs = [passes * giga_macs(*each) for each in sides]
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    times = [[seconds(run(*each)) for each in sides] for _ in range(turns + 1)][1:]
    network, alone = (gigas / median(column) for gigas, column in zip(macs, zip(*times, strict=True), strict=True))
    print(f"  {network:.0f} GMACs a second, a 3x3 convolution alone {alone:.0f}: {network / alone:.0%}")
    if torch.cuda.is_initialized():
        print(f"  {torch.cuda.max_memory_allocated() / 1e9:.2f} GB at most, with both networks' weights")


def compare_peers(options: argparse.Namespace) -> None:
    """Clips per second of the model and of each of torchvision's networks, in the layout that is fastest for each."""
    ours = make(options.model)
    clip_BTCHW = frames_channels_last(torch.randn(1, 16, 3, options.size, options.size))
    our_macs = giga_macs(ours, clip_BTCHW)
    for name, (num_frames, size) in PEERS.items():
        peer = torchvision.models.get_model(name, num_classes=174)
        clip_BCTHW = torch.randn(1, 3, num_frames, size, size)
        if name != "swin3d_t":
            peer, clip_BCTHW = (
                peer.to(memory_format=torch.channels_last_3d),
                clip_BCTHW.contiguous(memory_format=torch.channels_last_3d),
            )
        peer_macs = giga_macs(peer, clip_BCTHW)
        print(f"{options.model} {our_macs:.1f} GMACs at {options.size}, {name} {peer_macs:.1f} GMACs at {size}")
        for what, run in (("inference", infer), ("training step", train)):
            ratio = compare(
                f"  time of {name} / ours, {what}", run(peer, clip_BCTHW), run(ours, clip_BTCHW), options.turns
            )
            print(
                f"  clips per second, ours / {name}: {ratio:.2f}; times GMACs a clip: "
                f"{ratio * our_macs / peer_macs:.2f}"
            )


def compare_lengths(options: argparse.Namespace) -> None:
    """The time a frame of clips of several lengths, over that of the first length."""
    model = make(options.model).eval()
    first, *others = options.frames
    clip_BTCHW = frames_channels_last(torch.randn(1, max(options.frames), 3, options.size, options.size))
    base = infer(model, clip_BTCHW[:, :first])
    for num_frames in others:
        longer = infer(model, clip_BTCHW[:, :num_frames])
        ratio = compare(f"{num_frames} frames / {first} frames", longer, base, options.turns)
        print(f"  a frame: {ratio * first / num_frames:.3f}")


def make(name: str) -> lsn.models.Recognizer:
    return lsn.create_model(name, num_classes=174).to(memory_format=torch.channels_last)


def infer(model: nn.Module, clip: Tensor) -> Callable[[], object]:
    def run() -> None:
        model.eval()
        with torch.inference_mode():
            model(clip)

    return run


def train(model: nn.Module, clip: Tensor) -> Callable[[], object]:
    def run() -> None:
        model.train()
        model(clip).sum().backward()
        model.zero_grad(set_to_none=True)

    return run


def giga_macs(model: nn.Module, clip: Tensor) -> float:
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clip)
    return counter.get_total_flops() / 2e9


if __name__ == "__main__":
    sys.exit(main())
