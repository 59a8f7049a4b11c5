"""How batch norm behaves in training: by process, over all processes, or frozen."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lsn.errors import ConfigError


def freeze_batch_norm(
    model: nn.Module, mode: Literal["partial", "frozen"], *, new_names: Collection[str]
) -> list[nn.Module]:
    """Stops the trained batch norms from learning; norms of new layers go on.

    Their scale and shift stop here; their statistics stop while they are in eval mode, see `enter_training`.

    Args:
        model: The network.
        mode: "frozen", or "partial", in which the first norm of the network learns too.
        new_names: Names of the parameters that did not start from trained weights.

    Returns:
        The frozen norms.

    Raises:
        ConfigError: no norm holds anything trained, so there is nothing to freeze.

    Source: partial batch norm, TSN (Wang et al., ECCV 2016), section 3.2.
    """
    norms = [(name, module) for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
    if not any(f"{name}.weight" not in new_names for name, _ in norms):
        raise ConfigError(
            f"training.batch_norm is {mode}, but no batch norm of this network starts from trained weights; "
            "use train, or give model.pretrained, model.backbone_weights or model.initial_weights"
        )
    kept = norms[1:] if mode == "partial" else norms
    frozen: list[nn.Module] = [module for name, module in kept if f"{name}.weight" not in new_names]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def enter_training(model: nn.Module, frozen_norms: Collection[nn.Module]) -> None:
    """Puts the network into training mode, but for its frozen norms."""
    model.train()
    for norm in frozen_norms:
        norm.eval()


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Makes every batch norm use the statistics of all processes; the names of its tensors stay.

    torch's SyncBatchNorm runs on accelerators only, so processes on CPUs get `CPUSyncBatchNorm`.
    """
    if device.type != "cpu":
        convert_sync_batchnorm(model)
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, _BatchNorm):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, CPUSyncBatchNorm(module))


class CPUSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, for any backend of torch.distributed.

    Takes over the tensors of `norm`, and the activation that timm joins to some norms.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalises N x C x H x W; N may differ between processes and be 0."""
        y_NCHW = self._normalize(input) if self.training else super().forward(input)
        return self.act(self.drop(y_NCHW))

    def _normalize(self, input: Tensor) -> Tensor:
        x_NCHW = input.to(torch.promote_types(input.dtype, torch.float32))  # full precision under autocast too
        count = x_NCHW.new_tensor([x_NCHW.numel() / x_NCHW.shape[1]])
        totals = _SumOverProcesses.apply(torch.cat([x_NCHW.sum((0, 2, 3)), count]))
        count = totals[-1].detach().clamp(min=1)
        mean_C = totals[:-1] / count
        centred_NCHW = x_NCHW - _per_channel(mean_C)
        var_C = _SumOverProcesses.apply(centred_NCHW.square().sum((0, 2, 3))) / count
        if count > 1:
            self._track(mean_C.detach(), var_C.detach() * count / (count - 1))
        scale_C = self.weight * (var_C + self.eps).rsqrt()
        return (centred_NCHW * _per_channel(scale_C) + _per_channel(self.bias)).to(input.dtype)

    def _track(self, mean_C: Tensor, unbiased_var_C: Tensor) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(unbiased_var_C, momentum)


class _SumOverProcesses(torch.autograd.Function):
    """A differentiable all-reduce: what every process adds to the sum, every process's loss depends on."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _per_channel(values_C: Tensor) -> Tensor:
    return values_C.view(1, -1, 1, 1)
