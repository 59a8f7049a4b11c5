import pytest
import timm
import torch
from torch import Tensor, nn

from lsn.errors import ModelError
from lsn.models.shift import install_shift, temporal_shift


def naive_shift(x_BTCHW: Tensor, direction: str) -> Tensor:
    y_BTCHW = x_BTCHW.clone()
    T, C = x_BTCHW.shape[1:3]
    for t in range(T):
        for c in range(C):
            source = t
            if c < C // 8:
                source = t - 1 if direction == "causal" else t + 1
            elif c < 2 * (C // 8) and direction == "bidirectional":
                source = t - 1
            y_BTCHW[:, t, c] = x_BTCHW[:, source, c] if 0 <= source < T else 0
    return y_BTCHW


@pytest.mark.parametrize("direction", ["bidirectional", "causal"])
@pytest.mark.parametrize(("frames", "channels"), [(1, 8), (2, 7), (5, 16), (4, 35)])
def test_shift_equals_a_naive_loop(direction: str, frames: int, channels: int) -> None:
    x_BTCHW = torch.randn(2, frames, channels, 3, 2)
    assert torch.equal(temporal_shift(x_BTCHW, direction), naive_shift(x_BTCHW, direction))


@pytest.mark.parametrize(
    ("cnn", "count", "first"),
    [
        ("resnet50", 16, "layer1.0.conv1"),
        ("resnet10t", 4, "layer1.0.conv1"),
        ("tf_efficientnet_lite0", 9, "blocks.1.1.conv_pw"),
        ("convnext_atto", 12, "stages.0.blocks.0.conv_dw"),
        ("regnety_004", 16, "s1.b1.conv1"),
    ],
)
def test_shift_stands_before_the_first_conv_of_every_residual_block(cnn: str, count: int, first: str) -> None:
    model = timm.create_model(cnn)
    names_before = list(model.state_dict())
    install_shift(model, "bidirectional")
    shifted = [name for name, module in model.named_modules() if module._forward_pre_hooks]
    assert len(shifted) == count
    assert shifted[0] == first
    assert list(model.state_dict()) == names_before


def test_a_cnn_without_residual_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match="no residual blocks"):
        install_shift(nn.Sequential(nn.Conv2d(3, 3, 1)), "causal")
