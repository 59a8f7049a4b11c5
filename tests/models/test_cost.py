import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import lsn
from lsn.errors import ModelError
from lsn.models import ConvLSTMCell
from lsn.models.cost import model_cost


def counted_by_hand(model: nn.Module, clip: torch.Tensor) -> int:
    """Multiply-adds from the shapes that really pass through every convolution, linear layer and cell."""
    total = 0

    def count(module: nn.Module, inputs: tuple, output: torch.Tensor | tuple) -> None:
        nonlocal total
        if isinstance(module, ConvLSTMCell):
            B, T, _, H, W = output[0].shape
            accumulation = inputs[3]
            kernels = [module.recurrent_gates.weight]
            kernels += [] if accumulation is None else [accumulation.window_kernel, accumulation.carry_kernel]
            total += B * T * H * W * sum(kernel.numel() for kernel in kernels)
        elif isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    handles = [module.register_forward_hook(count) for module in model.modules()]
    with torch.inference_mode():
        model(clip)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize(
    "name", ["lsn_resnet10t", "convlstm_tf_efficientnet_lite0", "lsn_ss_convnext_atto", "lsn_rexnet_100"]
)
def test_cost_equals_a_count_of_the_layers(name: str) -> None:
    model = lsn.create_model(name, num_classes=11).eval()
    cost = model_cost(model, height=64, width=96, num_frames=4)
    assert cost.macs == counted_by_hand(model, torch.zeros(1, 4, 3, 64, 96))
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.slow
def test_cost_of_lsn_resnet50_equals_the_flop_counter_and_stays_within_a_tenth_of_tsn() -> None:
    with torch.device("meta"):
        clip = torch.empty(1, 16, 3, 224, 224)
    model = lsn.create_model("lsn_resnet50", num_frames=16).eval()
    cost = model_cost(model)
    with FlopCounterMode(display=False) as counter:
        model.to("meta")(clip)
    assert cost.macs * 2 == counter.get_total_flops()
    control = model_cost(lsn.create_model("tsn_resnet50", num_frames=16))
    assert control.macs == pytest.approx(16 * 4.09e9, rel=0.01)  # the published 4.09 GMACs of a ResNet-50
    assert cost.macs <= 1.10 * control.macs


def test_state_is_what_a_block_carries_and_control_models_carry_none() -> None:
    cost = model_cost(lsn.create_model("lsn_resnet50"))
    states = [stage.state_bytes for stage in cost.stages if stage.name.startswith("memory")]
    sizes = ((16, 8, 56), (32, 8, 28), (64, 16, 14), (128, 32, 7))  # hidden channels, rank, side
    assert states == [4 * (3 * rank + hidden) * side * side for hidden, rank, side in sizes]
    assert model_cost(lsn.create_model("tsm_resnet10t")).state_bytes == 0


def test_zero_frames_are_refused() -> None:
    with pytest.raises(ModelError, match="num_frames is 0"):
        model_cost(lsn.create_model("tsn_resnet10t"), num_frames=0)
