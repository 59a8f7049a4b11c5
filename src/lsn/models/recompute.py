"""Gradient checkpointing: activations that are computed again in the backward pass instead of kept.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, on PyTorch's `torch.utils.checkpoint`.

Shapes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

CHUNK_FRAMES = 16
"""Frames of all clips together that are computed at once where time can be cut."""

Past = TypeVar("Past")


def recompute(
    run: Callable[[Tensor, Past], tuple[Tensor, Past]],
    x_BTCHW: Tensor,
    past: Past,
    modules: Sequence[nn.Module],
    *,
    cut: bool,
) -> tuple[Tensor, Past]:
    """Runs modules over clips and keeps nothing but what goes in.

    Where it changes nothing the clips are cut in time, so that the backward pass holds the activations of a few frames
    only. A batch norm that takes its statistics from the frames needs them all, and so do modules that look ahead.

    Args:
        run: goes on from the past with some frames; returns the output of each frame, and the new past.
        x_BTCHW: the frames.
        past: what the frames before left.
        modules: what `run` runs.
        cut: whether parts of the clips may run one after the other, the past handed on.
    """
    norms = norms_in_training(modules)
    whole = norms or not cut
    tbptt_frames = x_BTCHW.shape[1] if whole else max(1, CHUNK_FRAMES // max(1, len(x_BTCHW)))
    outputs = []
    for start in range(0, x_BTCHW.shape[1], tbptt_frames):
        part_BTCHW = x_BTCHW[:, start : start + tbptt_frames]
        y_BTCHW, past = checkpoint(
            run, part_BTCHW, past, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_kept(norms))
        )
        outputs.append(y_BTCHW)
    return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0], past


def norms_in_training(modules: Iterable[nn.Module]) -> list[_BatchNorm]:
    """The batch norms of the modules that take their statistics from the frames."""
    return [norm for module in modules for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]


@contextmanager
def _statistics_kept(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """The second run of the same frames must not move the running statistics a second time."""
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
