import copy

import pytest
import torch

from lsn.errors import ConfigError
from lsn.models import create_model
from lsn.training.batch_norm import enter_training
from lsn.training.freeze import freeze_stages


def network(*, trained=True):
    torch.manual_seed(0)
    model = create_model("lsn_resnet10t", num_classes=3, num_frames=2, dropout=0.0)
    if trained:
        model.mark_trained(name for name, _ in model.named_parameters() if name.startswith("cnn."))
    return model


@pytest.mark.parametrize(
    ("num_stages", "still"),
    [
        (0, ()),
        (1, ("cnn.conv1.", "cnn.bn1.", "cnn.layer1.")),
        (3, ("cnn.conv1.", "cnn.bn1.", "cnn.layer1.", "cnn.layer2.", "cnn.layer3.")),
    ],
)
def test_the_first_stages_keep_weights_and_statistics_and_all_else_learns(num_stages, still):
    model = network()
    before = copy.deepcopy(model.state_dict())

    frozen = freeze_stages(model, num_stages)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    enter_training(model, frozen)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(2, 2, 3, 64, 64)).square().sum().backward()
        optimizer.step()

    for prefix in ("cnn.conv1.", "cnn.bn1.", "cnn.layer1.", "cnn.layer2.", "cnn.layer3.", "cnn.layer4.", "cnn.fc."):
        same = all(torch.equal(old, model.state_dict()[n]) for n, old in before.items() if n.startswith(prefix))
        assert same == (prefix in still), prefix
    assert not torch.equal(before["memory.0.expand.1.weight"], model.state_dict()["memory.0.expand.1.weight"])


def test_random_weights_and_stages_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match=r"frozen_stages is 1, but .* has random weights; give model.pretrained"):
        freeze_stages(network(trained=False), 1)
    with pytest.raises(ConfigError, match="frozen_stages is 5, but lsn_resnet10t has 4 stages"):
        freeze_stages(network(), 5)
