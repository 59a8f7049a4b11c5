"""A training that does not learn is noticed, with the remedy; one that learns is left in peace."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mutual_info_score

import lsn
from lsn.data import Clip, Manifest
from lsn.training import train
from lsn.training.health import AnswerSpread, TrainingWatch, dead_unit_shares, loss_of_guessing
from lsn.training.position import Tally


class TestAnswerSpread:
    def test_it_is_the_mutual_information_of_clip_and_answer(self):
        """One-hot answers of clips that all differ: what scikit-learn measures between clip and answer."""
        answers = torch.randint(4, (30,), generator=torch.Generator().manual_seed(0))
        spread = AnswerSpread(4)
        for part in answers.split(7):
            spread.add(100.0 * torch.nn.functional.one_hot(part, 4))
        assert spread.information() == pytest.approx(mutual_info_score(range(30), answers.tolist()), abs=1e-5)

    def test_equal_answers_carry_none(self):
        spread = AnswerSpread(3)
        assert spread.information() == math.inf
        spread.add(torch.tensor([[2.0, -1.0, 0.5]]).expand(10, 3))
        assert spread.information() == pytest.approx(0, abs=1e-6)
        spread.clear()
        assert spread.information() == math.inf


def test_guessing_is_the_best_constant_answer():
    labels = ["a"] * 7 + ["b"] * 2 + ["c"]
    manifest = Manifest("m", ("a", "b", "c"), tuple(Clip(f"{n}", label) for n, label in enumerate(labels)))
    shares = np.array([[0.7, 0.2, 0.1]]).repeat(10, 0)
    assert loss_of_guessing(manifest, 0.0) == pytest.approx(log_loss(labels, shares))

    logits = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")
    targets = torch.tensor([manifest.label_index(label) for label in labels])

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits.expand(10, 3), targets, label_smoothing=0.3)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert loss_of_guessing(manifest, 0.3) == pytest.approx(closure().item(), abs=1e-5)


class TestWatch:
    """Epochs of 16 steps of 4 clips, the first of warm-up; guessing has ln 2."""

    @pytest.fixture
    def model(self):
        return lsn.create_model("tsn_test_resnet", num_classes=2, num_frames=1)

    def findings(self, model, losses, *, differ, watch=None):
        """Kinds found after each epoch of these losses."""
        watch = watch or TrainingWatch(num_classes=2, chance=math.log(2), steps_per_epoch=16, warmup_steps=16)
        found, step = [], 0
        for loss in losses:
            for _ in range(16):
                step += 1
                watch.spread.add(torch.tensor([[3.0, -3.0], [-3.0, 3.0]] if differ else [[0.1, 0.0], [0.1, 0.0]]))
                new = watch.step(step, Tally(loss=4 * loss, weight=4), model, torch.rand(2, 1, 3, 32, 32))
            found.append([finding.kind for finding in new])
        return found

    def test_a_loss_that_falls_is_left_in_peace(self, model):
        assert self.findings(model, [0.69, 0.6, 0.3], differ=True) == [[], [], []]

    def test_the_warm_up_is_left_in_peace(self, model):
        assert self.findings(model, [0.9], differ=False) == [[]]

    def test_a_collapse_is_said_once(self, model):
        assert self.findings(model, [0.69, 0.70, 0.70, 0.70], differ=False) == [[], ["collapsed"], [], []]

    def test_it_is_said_again_after_it_was_right(self, model):
        found = self.findings(model, [0.69, 0.70, 0.5, 0.70], differ=False)
        assert found == [[], ["collapsed"], [], ["collapsed"]]

    def test_answers_that_differ_are_no_collapse(self, model):
        assert self.findings(model, [0.69, 0.70], differ=True) == [[], ["at_chance"]]

    def test_a_divergence(self, model):
        assert self.findings(model, [0.69, 2.0], differ=True) == [[], ["diverged"]]

    def test_it_goes_on_from_its_state(self, model):
        watches = [
            TrainingWatch(num_classes=2, chance=math.log(2), steps_per_epoch=16, warmup_steps=0) for _ in range(2)
        ]
        for step in range(1, 9):
            watches[0].spread.add(torch.zeros(2, 2))
            watches[0].step(step, Tally(loss=1.4, weight=2), model, torch.rand(1, 1, 3, 32, 32))
        watches[1].load_state_dict(watches[0].state_dict())
        for step in range(9, 17):
            for watch in watches:
                watch.spread.add(torch.zeros(2, 2))
            one, other = (
                watch.step(step, Tally(loss=1.4, weight=2), model, torch.rand(1, 1, 3, 32, 32)) for watch in watches
            )
            assert one == other
        assert [finding.kind for finding in one] == ["collapsed"]


def test_dead_units_are_counted_and_the_model_is_left_as_it_was():
    model = lsn.create_model("tsn_resnet10t", num_classes=2, num_frames=2)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    clip_BTCHW = torch.randint(0, 256, (2, 2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before_shares = dead_unit_shares(model, clip_BTCHW)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    with torch.no_grad():  # nothing comes through the last norm of the last stage
        last = model.cnn.get_submodule("layer4.0.bn2")
        last.bias.fill_(-100.0)
        model.cnn.get_submodule("layer4.0.downsample")[-1].bias.fill_(-100.0)
    shares = dead_unit_shares(model, clip_BTCHW)
    assert shares["layer4"] >= 0.5 > before_shares["layer4"]
    assert all(shares[name] == before_shares[name] for name in ("layer1", "layer2", "layer3"))


def test_a_run_says_so_and_what_to_do(config, tmp_path, caplog):
    hot = replace(
        config,
        optim=replace(config.optim, learning_rate=1.0, warmup_epochs=0.0),
        training=replace(config.training, epochs=2, min_steps_per_epoch=16),
    )
    train(hot, tmp_path / "run")
    said = [record.getMessage() for record in caplog.records if "diverges" in record.getMessage()]
    assert len(said) == 1
    assert "epoch 2 of 2" in said[0] and "lower optim.learning_rate (here 1)" in said[0] and "--overfit 8" in said[0]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert "diverged" in [line["what"] for line in lines if line["kind"] == "warning"]
