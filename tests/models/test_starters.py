"""The weights that come with LSN: they load, find what they say, and are a start for others."""

import re
from pathlib import Path

import pytest
import torch

from lsn.config import ModelConfig
from lsn.config.recipes import find_recipe
from lsn.data.synthetic import write_synthetic
from lsn.data.timelines.reading import read_timelines
from lsn.errors import WeightsError
from lsn.models.starters.cards import STARTERS, starter_folder
from lsn.models.weights import is_weights_folder, load_event_rules, load_weights, save_event_rules
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline_evaluation import evaluate_timelines
from lsn.training.start import start_model


@pytest.mark.parametrize("name", STARTERS)
def test_they_are_streaming_models_with_all_that_belongs_to_them(name):
    loaded = load_weights(f"starter:{name}")
    assert loaded.model.is_causal and loaded.labels[0] == "background" and len(loaded.labels) == 11
    assert loaded.events == load_event_rules(f"starter:{name}")
    assert loaded.events.background == "background" and loaded.frame_rates is not None
    assert loaded.metrics["f1"]["25"] >= 0.9
    assert is_weights_folder(f"starter:{name}")
    assert STARTERS[name].data.startswith("lsn data synthesize ")
    assert find_recipe(STARTERS[name].recipe).is_file()


def test_they_are_small():
    assert sum(path.stat().st_size for name in STARTERS for path in starter_folder(name).iterdir()) < 6 << 20


def test_other_names_are_refused():
    with pytest.raises(WeightsError, match=r"no starter weights are called 'starter:gesture'; did you mean 'starter:g"):
        load_weights(Path("starter:gesture"))
    with pytest.raises(WeightsError, match=r"starter:gestures: no folder of yours; copy "):
        save_event_rules("starter:gestures", load_event_rules("starter:gestures"))


@pytest.mark.slow
def test_motions_are_found_in_videos_of_another_seed(tmp_path):
    made = write_synthetic(tmp_path, kind="timeline", num_train=2, num_val=6, seed=7, num_workers=0)
    predictor = StreamingPredictor("starter:motion", device="cpu")
    metrics = evaluate_timelines(predictor, read_timelines(made.val)).metrics
    assert metrics.num_events >= 30 and metrics.f1["50"] >= 0.9


def test_a_training_starts_from_them_with_the_labels_that_both_know():
    config = ModelConfig(
        "lsn_test_resnet", pretrained=False, initial_weights="starter:gestures", reduction=4, frame_differences=True
    )
    model, starter = start_model(config, ("tick", "wave"), seed=0), load_weights("starter:gestures")
    row = starter.labels.index("tick")
    torch.testing.assert_close(model.get_classifier().weight[0], starter.model.get_classifier().weight[row])
    shared = {name for name in model.state_dict() if not name.startswith("cnn.fc")}
    for name in shared:
        torch.testing.assert_close(model.state_dict()[name], starter.model.state_dict()[name], rtol=0, atol=0)


def test_lsn_shows_their_cards(capsys):
    from lsn.cli import main

    assert main(["models", "--starters"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name in STARTERS:
        assert f"starter:{name} finds" in out and f"lsn reproduce starters {name}" in out
    assert re.search(r"593,999 parameters, frames of 72 pixels, 7\.5 frames per second", out)
