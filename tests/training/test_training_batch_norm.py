import copy

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import nn

from lsn.errors import ConfigError
from lsn.models import create_model
from lsn.training.batch_norm import CPUSyncBatchNorm, enter_training, freeze_batch_norm, synchronize_batch_norm


@pytest.fixture
def model():
    """A network whose CNN counts as trained, and whose memory does not."""
    torch.manual_seed(0)
    model = create_model("lsn_resnet10t", num_classes=3, num_frames=2, memory_stages=(3,), dropout=0.0)
    model.mark_trained(name for name, _ in model.named_parameters() if name.startswith("cnn."))
    return model


def learn(model, frozen):
    """Takes two large steps; returns which norms changed in their statistics, and in their scale or shift."""
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    before = {name: copy.deepcopy(norm.state_dict()) for name, norm in norms.items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    enter_training(model, frozen)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(2, 2, 3, 32, 32)).square().sum().backward()
        optimizer.step()

    def changed(*keys):
        return {
            name
            for name, norm in norms.items()
            if any(not torch.equal(before[name][key], norm.state_dict()[key]) for key in keys)
        }

    return changed("running_mean", "running_var"), changed("weight", "bias")


@pytest.mark.parametrize("mode", ["partial", "frozen"])
def test_only_the_norms_that_should_learn_do(model, mode):
    norms = [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    memory_norms = {name for name in norms if name.startswith("memory.")}
    frozen = freeze_batch_norm(model, mode, new_names=model.new_parameter_names())

    statistics, affine = learn(model, frozen)

    learning = memory_norms | {norms[0]} if mode == "partial" else memory_norms
    assert memory_norms
    assert statistics == learning
    assert affine == learning


def test_freezing_an_untrained_network_is_refused():
    model = create_model("tsn_resnet10t", num_classes=3, num_frames=2)
    with pytest.raises(ConfigError, match="no batch norm of this network starts from trained weights"):
        freeze_batch_norm(model, "frozen", new_names=model.new_parameter_names())


@pytest.fixture
def lone_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4), BatchNormAct2d(4, act_layer=nn.SiLU), nn.BatchNorm2d(4, momentum=None)]
)
def test_synchronized_norm_of_one_process_equals_torch(lone_group, norm):
    nn.init.uniform_(norm.weight)
    ours = CPUSyncBatchNorm(copy.deepcopy(norm))
    x = torch.randn(5, 4, 3, 2) * 2 + 100
    probe = torch.randn(5, 4, 3, 2)
    gradients = []
    for module in (ours, norm):
        leaf = x.clone().requires_grad_()
        for _ in range(2):
            y = module(leaf)
        (y * probe).sum().backward()
        gradients.append((y, leaf.grad, module.weight.grad, module.bias.grad))

    torch.testing.assert_close(gradients[0], gradients[1], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(ours.state_dict(), norm.state_dict())
    torch.testing.assert_close(ours.eval()(x), norm.eval()(x))


def test_synchronized_norm_takes_an_empty_batch(lone_group):
    norm = CPUSyncBatchNorm(nn.BatchNorm2d(4))
    before = copy.deepcopy(norm.state_dict())

    y = norm(torch.zeros(0, 4, 3, 2))

    assert y.shape == (0, 4, 3, 2)
    torch.testing.assert_close(norm.state_dict(), before)


def test_synchronizing_keeps_tensors_and_names(lone_group, model):
    expected = copy.deepcopy(model).eval()
    synchronize_batch_norm(model, torch.device("cpu"))
    clip = torch.randn(1, 2, 3, 32, 32)

    assert list(model.state_dict()) == list(expected.state_dict())
    assert not any(type(m) in (nn.BatchNorm2d, BatchNormAct2d) for m in model.modules())
    torch.testing.assert_close(model.eval()(clip), expected(clip))
