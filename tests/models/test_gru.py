"""The GRU on pooled features, against PyTorch's own."""

import pytest
import torch
from torch import nn

import lsn
from lsn.errors import ModelError
from lsn.models import PooledGRU


@pytest.fixture
def block() -> PooledGRU:
    torch.manual_seed(0)
    return PooledGRU(6, reduction=2, zero_init=False)


def pytorchs(block: PooledGRU) -> nn.GRU:
    """`torch.nn.GRU` with the weights of a block."""
    gru = nn.GRU(6, 3, batch_first=True)
    gru.load_state_dict({f"{name}_l0": tensor for name, tensor in block.cell.state_dict().items()})
    return gru


def test_pooled_it_is_pytorchs_gru_added_to_the_pooled_features(block):
    x_BTCHW = torch.randn(2, 7, 6, 4, 5)
    y_BTCHW, state = block(x_BTCHW)
    pooled_BTC = x_BTCHW.mean((3, 4))
    hidden_BTD, last_1BD = pytorchs(block)(pooled_BTC)
    torch.testing.assert_close(y_BTCHW.mean((3, 4)), pooled_BTC + block.expand(hidden_BTD))
    torch.testing.assert_close(state.past_BPHW[..., 0, 0], last_1BD[0])


def test_all_pixels_of_a_map_get_the_same(block):
    x_BTCHW = torch.randn(1, 2, 6, 3, 3)
    added_BTCHW = block(x_BTCHW)[0] - x_BTCHW
    torch.testing.assert_close(added_BTCHW, added_BTCHW[..., :1, :1].expand_as(added_BTCHW))


def test_in_parts_it_gives_the_same(block):
    x_BTCHW = torch.randn(2, 7, 6, 2, 2)
    whole, end = block(x_BTCHW)
    first, state = block(x_BTCHW[:, :3])
    rest, last = block(x_BTCHW[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    torch.testing.assert_close(last.past_BPHW, end.past_BPHW)


def test_it_starts_as_the_identity_beside_a_pretrained_cnn():
    x_BTCHW = torch.randn(2, 3, 6, 2, 2)
    torch.testing.assert_close(PooledGRU(6)(x_BTCHW)[0], x_BTCHW)


def test_a_model_has_one_behind_its_last_stage_by_default():
    model = lsn.create_model("gru_resnet10t", num_classes=4)
    assert list(model.memory) == ["3"]
    assert model.memory["3"].past_channels == 256
    two = lsn.create_model("gru_resnet10t", num_classes=4, memory_stages=(1, 3), reduction=4)
    assert [block.past_channels for block in two.memory.values()] == [32, 128]
    assert lsn.create_model("tsm_resnet10t", shift="causal", memory="gru").is_causal


def test_an_argument_out_of_range_is_refused():
    with pytest.raises(ModelError, match="reduction is 0; it must be at least 1"):
        PooledGRU(6, reduction=0)
