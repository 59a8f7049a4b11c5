import copy
from functools import partial

import pytest
import torch
from model_helpers import EVERY_CNN, awake
from torch import nn

from lsn.models.fuse import fuse


def lively(name: str, **options: object) -> nn.Module:
    """A model whose norms have statistics of their own."""
    model = awake(name, **options)
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    return model


def num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("cnn", EVERY_CNN)
def test_a_fused_model_gives_the_same_scores_and_steps(cnn: str) -> None:
    model = lively(f"lsn_ss_{cnn}", shift="causal")
    before = copy.deepcopy(model.state_dict())
    fused = fuse(model)
    assert num_norms(fused) == 0
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    clip_BTCHW = torch.randn(2, 5, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.forward_frames(clip_BTCHW)
        close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
        close(fused.forward_frames(clip_BTCHW), expected)
        _, state = model.step(clip_BTCHW[:, :3])  # the states of both are the same
        close(fused.step(clip_BTCHW[:, 3:], state)[0], expected[:, 3:])


@pytest.mark.parametrize(
    ("name", "options"),
    [("gru_resnet10t", {}), ("convlstm_resnet10t", {}), ("lsn_resnet10t", {"order": 2, "steps": 4})],
)
def test_other_memories_are_fused(name: str, options: dict) -> None:
    model = lively(name, **options)
    clip_BTCHW = torch.randn(1, 4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(fuse(model)(clip_BTCHW), model(clip_BTCHW), rtol=1e-4, atol=1e-4)


def test_a_fused_model_keeps_its_type() -> None:
    model = lively("lsn_resnet10t").double()
    fused = fuse(model)
    assert {tensor.dtype for tensor in fused.state_dict().values() if tensor.is_floating_point()} == {torch.float64}
    clip_BTCHW = torch.randn(1, 3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(fused(clip_BTCHW), model(clip_BTCHW), rtol=1e-12, atol=1e-12)


def test_norms_stay_where_a_convolution_is_read_twice() -> None:
    class Twice(nn.Module):
        """Takes what its convolution makes beside what the norm makes of it."""

        def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
            super().__init__()
            self.conv, self.norm = conv, norm

        def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
            y_NCHW = self.conv(x_NCHW)
            return self.norm(y_NCHW) + 3 * y_NCHW

    model = lively("lsn_resnet10t")
    norm = nn.BatchNorm2d(24).eval()
    norm.running_var.fill_(0.2)
    model.cnn.conv1[0] = Twice(model.cnn.conv1[0], norm)
    fused = fuse(model)
    assert num_norms(fused) == num_norms(model) > 0
    clip_BTCHW = torch.randn(1, 4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(fused(clip_BTCHW), model(clip_BTCHW), rtol=1e-4, atol=1e-4)
