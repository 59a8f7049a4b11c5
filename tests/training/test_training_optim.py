import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from lsn.errors import ConfigError
from lsn.models import create_model
from lsn.training.optim import (
    Schedule,
    create_optimizer,
    parameter_groups,
    scaled_learning_rate,
    set_learning_rate,
)


@pytest.fixture(scope="module")
def model():
    model = create_model("lsn_resnet10t", num_classes=5, num_frames=2, memory_stages=(3,))
    model.mark_trained(
        name for name, _ in model.named_parameters() if name.startswith("cnn.") and not name.startswith("cnn.fc.")
    )
    return model


def groups_of(model, **changes):
    arguments = {"new_names": model.new_parameter_names(), "new_layer_lr_mult": 5.0, "weight_decay": 0.1}
    return parameter_groups(model, **arguments | changes)


def names_of(model, group):
    by_identity = {id(parameter): name for name, parameter in model.named_parameters()}
    return [by_identity[id(parameter)] for parameter in group["params"]]


def test_every_learning_parameter_is_in_one_group(model):
    names = [name for group in groups_of(model) for name in names_of(model, group)]

    assert len(names) == len(set(names))
    assert set(names) == {name for name, p in model.named_parameters() if p.requires_grad}


def test_biases_and_norms_are_never_decayed(model):
    norms = {
        f"{name}.{kind}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for kind in ("weight", "bias")
    }
    for group in groups_of(model):
        for name in names_of(model, group):
            decays = name not in norms and not name.endswith("bias")
            assert group["weight_decay"] == (0.1 if decays else 0.0), name


def test_new_layers_have_their_own_rate(model):
    optimizer = create_optimizer(groups_of(model), name="sgd", learning_rate=1.0, momentum=0.9, beta2=0.999)
    set_learning_rate(optimizer, 0.2)

    for group in optimizer.param_groups:
        for name in names_of(model, group):
            is_new = name.startswith(("memory.", "cnn.fc."))
            assert group["lr"] == pytest.approx(1.0 if is_new else 0.2), name


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)

    (weights, biases) = parameter_groups(model, new_names=(), new_layer_lr_mult=1.0, weight_decay=0.1)

    assert names_of(model, weights) == ["1.weight"]
    assert names_of(model, biases) == ["1.bias"]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_optimizers_equal_those_of_torch_without_groups(name, momentum):
    ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    groups = parameter_groups(ours, new_names=(), new_layer_lr_mult=1.0, weight_decay=0.01)
    optimizer = create_optimizer(groups, name=name, learning_rate=0.1, momentum=momentum, beta2=0.98)
    if name == "sgd":
        reference = torch.optim.SGD(
            theirs.parameters(), lr=0.1, momentum=momentum, nesterov=bool(momentum), weight_decay=0.01
        )
    else:
        reference = torch.optim.AdamW(theirs.parameters(), lr=0.1, betas=(momentum, 0.98), weight_decay=0.01)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    for _ in range(3):
        for layer, stepper in ((ours, optimizer), (theirs, reference)):
            stepper.zero_grad()
            layer(x).square().sum().backward()
            stepper.step()

    torch.testing.assert_close(ours.weight, theirs.weight)


def rates_of_torch(make_scheduler, num_steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_with_warmup_equals_torch():
    schedule = Schedule("cosine", epochs=4, steps_per_epoch=10, warmup_epochs=0.5)

    def torchs(optimizer):
        return lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=5),
                lr_scheduler.CosineAnnealingLR(optimizer, T_max=35),
            ],
            milestones=[5],
        )

    assert [schedule.factor(s) for s in range(40)] == pytest.approx(rates_of_torch(torchs, 40))
    assert schedule.factor(40) == pytest.approx(0.0)


def test_steps_equal_torch():
    schedule = Schedule("step", epochs=4, steps_per_epoch=10, step_epochs=(1, 2.5), step_factor=0.1)

    expected = rates_of_torch(lambda o: lr_scheduler.MultiStepLR(o, milestones=[10, 25], gamma=0.1), 40)

    assert [schedule.factor(s) for s in range(40)] == pytest.approx(expected)


def test_a_warmup_as_long_as_the_run_is_refused():
    with pytest.raises(ConfigError, match=r"warmup_epochs is 3.*3 epochs"):
        Schedule("cosine", epochs=3, steps_per_epoch=10, warmup_epochs=3)


@pytest.mark.parametrize(
    ("optimizer", "clips_per_step", "base_size", "rate"),
    [
        ("sgd", 8, 64, 0.00125),
        ("sgd", 128, 64, 0.02),
        ("adamw", 16, 64, 0.005),
        ("adamw", 64, 64, 0.01),
        ("sgd", 8, 0, 0.01),
    ],
)
def test_the_rate_follows_the_clips_per_step(optimizer, clips_per_step, base_size, rate):
    scaled = scaled_learning_rate(0.01, optimizer=optimizer, clips_per_step=clips_per_step, base_size=base_size)
    assert scaled == rate


def test_sgd_at_a_scaled_rate_goes_as_far_in_an_epoch():
    """Half the clips per step at half the rate: to first order the same path, whatever the loss."""
    x = torch.linspace(-1, 1, 64)[:, None]
    ends = []
    for clips in (8, 16):
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        rate = scaled_learning_rate(0.001, optimizer="sgd", clips_per_step=clips, base_size=8)
        optimizer = create_optimizer(
            parameter_groups(model, new_names=(), new_layer_lr_mult=1.0, weight_decay=0.0),
            name="sgd",
            learning_rate=rate,
            momentum=0.0,
            beta2=0.0,
        )
        for part in x.split(clips):
            optimizer.zero_grad()
            (model(part) - 3 * part).square().mean().backward()
            optimizer.step()
        ends.append(model.weight.item())
    assert ends[0] == pytest.approx(ends[1], rel=1e-2)
