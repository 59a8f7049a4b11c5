"""Kept weights whose probabilities are right: the temperature is part of the classifier."""

from dataclasses import replace

import torch

from lsn.data import read_manifest
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.result import load_evaluation
from lsn.models.weights import load_weights
from lsn.training import train


def test_kept_weights_give_calibrated_probabilities(config, colours, tmp_path, monkeypatch):
    """The evaluation in the folder is that of the weights beside it, and the checkpoint is not touched."""
    monkeypatch.setattr("lsn.evaluation.result.helpful_temperature", lambda scores, labels, groups: 2.5)
    train(config, tmp_path / "run")
    monkeypatch.undo()
    plain = replace(config, training=replace(config.training, calibrate=False))
    train(plain, tmp_path / "plain")
    kept, as_it_was = load_evaluation(tmp_path / "run"), load_evaluation(tmp_path / "plain")
    torch.testing.assert_close(kept.scores_NK, as_it_was.scores_NK / 2.5)
    assert [row.predicted for row in kept.rows] == [row.predicted for row in as_it_was.rows]
    loaded = load_weights(tmp_path / "run")
    val = load_evaluation(tmp_path / "run")
    again = evaluate(loaded.model, read_manifest(colours / "val.csv", labels=loaded.labels), val.protocol)
    torch.testing.assert_close(again.scores_NK, kept.scores_NK, atol=1e-5, rtol=1e-5)
    states = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["states"]["model"] for name in ("run", "plain")
    ]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name])
