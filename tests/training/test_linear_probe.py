"""The linear probe beside scikit-learn, and as a weights folder like any other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lsn.config import load_config
from lsn.data import read_manifest
from lsn.errors import ConfigError
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.result import load_evaluation
from lsn.models.weights import load_weights
from lsn.training.linear_probe import PENALTIES, fit_classifier, linear_probe


def clusters(num_clips, num_features, noise):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_clips) % 3
    centres = torch.randn(3, num_features, generator=generator)
    features = 3 + 5 * (centres[labels] + noise * torch.randn(num_clips, num_features, generator=generator))
    features[:, 0] = 1.0  # a feature that says nothing
    return features, labels


@pytest.mark.parametrize(("num_clips", "num_features"), [(200, 6), (30, 100)])
def test_it_is_the_regression_of_scikit_learn(num_clips, num_features):
    features, labels = clusters(num_clips, num_features, noise=2.0)
    weight, bias, penalty = fit_classifier(features, labels, None, num_classes=3)
    x = features.double().numpy()
    std = np.where(x.std(0) > 0, x.std(0), 1)
    theirs = LogisticRegression(C=1 / (penalty * num_clips), tol=1e-10, max_iter=10_000)
    theirs.fit((x - x.mean(0)) / std, labels.numpy())
    mine = (features.double() @ weight.T + bias).softmax(1)
    np.testing.assert_allclose(mine.numpy(), theirs.predict_proba((x - x.mean(0)) / std), atol=1e-5)


def test_the_penalty_is_chosen_by_the_folds():
    """Features of noise want the strongest penalty, clean ones hardly any."""
    folds = [number % 5 for number in range(60)]
    noisy, labels = clusters(60, 40, noise=50.0)
    assert fit_classifier(noisy, labels, folds, num_classes=3)[2] == max(PENALTIES)
    clean, labels = clusters(60, 40, noise=0.1)
    assert fit_classifier(clean, labels, folds, num_classes=3)[2] == min(PENALTIES)


def test_it_leaves_a_weights_folder(config, colours, tmp_path):
    """Colours are told apart even by the features of random weights."""
    config = replace(config, model=replace(config.model, name="lsn_resnet10t"))
    found = linear_probe(config, tmp_path / "probe")
    assert found.result.metrics.top1 == 1.0
    assert found.num_features == 512
    loaded = load_weights(tmp_path / "probe")
    assert loaded.model.name == "tsn_resnet10t"
    val = read_manifest(colours / "val.csv", labels=loaded.labels)
    again = evaluate(loaded.model, val, found.result.protocol)
    assert [row.predicted for row in again.rows] == [row.predicted for row in found.result.rows]
    assert load_evaluation(tmp_path / "probe").metrics.top1 == 1.0
    assert load_config(tmp_path / "probe/recipe.yaml").model.name == "tsn_resnet10t"

    with pytest.raises(ConfigError, match="already holds a run"):
        linear_probe(config, tmp_path / "probe")
    with pytest.raises(ConfigError, match=r"model\.initial_weights starts a whole network"):
        linear_probe(replace(config, model=replace(config.model, initial_weights="x")), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_it_is_tested_like_a_training(config, colours, tmp_path):
    """In cross-validation with `keep: best` the clips of the fold are the test set."""
    data = replace(config.data, val=None, val_fraction=0.4, test=config.data.val)
    linear_probe(replace(config, data=data), tmp_path / "probe")
    assert load_evaluation(tmp_path / "probe/test").metrics.num_videos == 5
