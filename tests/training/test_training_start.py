from dataclasses import replace

import pytest
import torch

from lsn.config import InputConfig, ModelConfig
from lsn.errors import ConfigError, WeightsError
from lsn.evaluation.temperature import state_at_temperature
from lsn.models import create_model
from lsn.models.weights import save_weights
from lsn.training.start import start_model

CONFIG = ModelConfig(name="lsn_resnet10t", num_frames=2, pretrained=False, memory_stages=(3,))
CLIP = torch.linspace(-1, 1, 2 * 2 * 3 * 32 * 32).reshape(2, 2, 3, 32, 32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights folder of three classes, whose memory does something."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(9)
    model = create_model("lsn_resnet10t", num_classes=3, num_frames=2, memory_stages=(3,))
    for parameter in model.memory.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_weights(folder, model, labels=["cat", "dog", "owl"], input=InputConfig(), metrics={})
    return folder, model.eval()


def logits_by_label(model, labels):
    with torch.no_grad():
        return dict(zip(labels, model.eval()(CLIP).T, strict=True))


def start(folder, labels, **changes):
    return start_model(replace(CONFIG, initial_weights=str(folder), **changes), labels, seed=0)


def test_the_seed_decides_the_random_weights():
    first, again, other = (start_model(CONFIG, ["a", "b"], seed=seed) for seed in (1, 1, 2))

    torch.testing.assert_close(first.state_dict(), again.state_dict(), rtol=0, atol=0)
    assert not torch.equal(first.get_classifier().weight, other.get_classifier().weight)
    assert first.new_parameter_names() == {name for name, _ in first.named_parameters()}


@pytest.mark.parametrize(("shift", "is_said"), [("none", False), ("causal", True)])
def test_weights_of_a_network_with_another_shift_are_said(weights, shift, is_said, caplog):
    folder, _ = weights
    start(folder, ["cat", "dog", "owl"], shift=shift)
    said = f"{folder}: holds lsn_resnet10t with shift none, but lsn_resnet10t has shift {shift}"
    assert (said in caplog.text) is is_said


def test_memory_starts_as_the_identity_or_does_not():
    plain = start_model(replace(CONFIG, name="tsn_resnet10t", memory_stages=None), ["a", "b"], seed=0).eval()
    for zero_init, changes in ((True, False), (False, True)):
        model = start_model(replace(CONFIG, zero_init_memory=zero_init), ["a", "b"], seed=0).eval()
        model.load_state_dict(plain.state_dict(), strict=False)
        assert torch.equal(model(CLIP), plain(CLIP)) is not changes
        assert "zero_init_memory" not in model.arguments, "weights are kept with what they need only"


@pytest.mark.parametrize(
    ("changes", "unused"),
    [
        ({"order": 2, "reduction": 8}, None),
        ({"name": "convlstm_resnet10t", "order": 2, "reduction": 8}, "convlstm_resnet10t has no use for model.order;"),
        ({"memory": "none", "order": 2}, "lsn_resnet10t has no use for model.memory_stages, model.order;"),
    ],
)
def test_options_that_a_model_has_no_part_for_are_named(caplog, changes, unused):
    start_model(replace(CONFIG, **changes), ["a", "b"], seed=0)

    assert [record.message.partition(" the rest")[0] for record in caplog.records] == ([unused] if unused else [])


@pytest.mark.parametrize("labels", [["cat", "dog", "owl"], ["owl", "cat", "dog"], ["dog", "owl"]])
def test_known_labels_keep_their_answers_in_any_order(weights, labels):
    folder, old = weights

    model = start(folder, labels)

    expected = logits_by_label(old, ["cat", "dog", "owl"])
    for label, logits in logits_by_label(model, labels).items():
        torch.testing.assert_close(logits, expected[label], msg=label)
    assert model.new_parameter_names() == set()


def test_a_network_starts_without_the_temperature_of_the_weights(weights, tmp_path):
    _, old = weights
    state = state_at_temperature(old, 0.25)
    labels = ["cat", "dog", "owl"]
    for temperature in (0.25, "cold"):
        save_weights(
            tmp_path, old, labels=labels, input=InputConfig(), metrics={"temperature": temperature}, state=state
        )
        if temperature == "cold":
            with pytest.raises(WeightsError, match="its temperature is 'cold', not a number"):
                start(tmp_path, labels)
        else:
            expected = logits_by_label(old, labels)
            for label, logits in logits_by_label(start(tmp_path, labels), labels).items():
                torch.testing.assert_close(logits, expected[label], msg=label)


def test_unknown_labels_start_fresh_and_the_classifier_counts_as_new(weights):
    folder, old = weights
    labels = ["emu", "dog", "fox", "ape"]

    model = start(folder, labels)

    answers = logits_by_label(model, labels)
    torch.testing.assert_close(answers["dog"], logits_by_label(old, ["cat", "dog", "owl"])["dog"])
    known = set(old.get_classifier().weight.flatten().tolist())
    assert not known & set(model.get_classifier().weight[[0, 2, 3]].flatten().tolist())
    assert model.new_parameter_names() == {"cnn.fc.weight", "cnn.fc.bias"}


def test_another_number_of_frames_is_fine(weights):
    assert start(weights[0], ["cat", "dog", "owl"], num_frames=7).num_frames == 7


@pytest.mark.parametrize("name", ["lsn_ss_resnet10t", "tsm_resnet10t"])
def test_a_causal_network_starts_from_the_tensors_of_a_bidirectional_one(tmp_path, name):
    torch.manual_seed(4)
    options = {} if name.startswith("tsm") else {"memory_stages": (3,)}
    old = create_model(name, num_classes=2, num_frames=2, **options).eval()
    save_weights(tmp_path, old, labels=["cat", "dog"], input=InputConfig(), metrics={})
    config = ModelConfig(name=name, num_frames=2, shift="causal", initial_weights=str(tmp_path), **options)

    model = start_model(config, ["cat", "dog"], seed=0)

    assert not old.is_causal and model.is_causal
    assert model.new_parameter_names() == set()
    torch.testing.assert_close(model.state_dict(), old.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes", [{"memory": "none"}, {"memory_stages": (2, 3)}, {"rank": 5}, {"name": "lsn_resnet18"}]
)
def test_another_architecture_is_refused(weights, changes):
    with pytest.raises(WeightsError, match=r"tensors are missing, left over or of another shape \("):
        start(weights[0], ["cat", "dog", "owl"], **changes)


def test_weights_that_are_given_come_before_those_of_the_hub(weights, monkeypatch):
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: pytest.fail("asks the hub"))
    model = start(weights[0], ["cat", "dog", "owl"], pretrained=True)
    torch.testing.assert_close(model.state_dict(), weights[1].state_dict(), rtol=0, atol=0)


def test_two_places_to_start_from_are_refused(weights):
    with pytest.raises(ConfigError, match=r"leave out model.backbone_weights or model.initial_weights"):
        start(weights[0], ["cat"], backbone_weights="resnet10t.safetensors")
