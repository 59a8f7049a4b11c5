"""What 0.1.0 called otherwise is still read, with one line of notice."""

import logging

import pytest

from lsn.config import InputConfig, RunConfig, load_config, old_names, to_yaml
from lsn.errors import ConfigError
from lsn.models import create_model
from lsn.models.weights import load_weights, save_weights

OLD_RECIPE = """
model: {answer_frames: 2}
data: {train: train.csv}
optim: {new_layer_factor: 3.0}
training: {accumulate: 4, carry_state: 0.25, chunk_frames: 8}
"""


@pytest.fixture(autouse=True)
def not_said_yet():
    old_names._say_once.cache_clear()


def test_recipes_and_overrides(tmp_path, caplog):
    (tmp_path / "old.yaml").write_text(OLD_RECIPE)
    config = load_config(tmp_path / "old.yaml", ["training.carry_state=0.5", "training.tbptt_frames=0"])
    assert (config.model.readout_frames, config.optim.new_layer_lr_mult) == (2, 3.0)
    training = config.training
    assert (training.grad_accum_steps, training.state_carry_prob, training.tbptt_frames) == (4, 0.5, 0)
    notices = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "accumulate is now called grad_accum_steps" in notices
    assert len(notices) == len(set(notices)) == 5


def test_a_complete_recipe_means_what_it_meant(tmp_path):
    """What a run of before wrote: all settings, but for those that did not exist."""
    younger = tuple(old_names._MEANT_BEFORE)
    lines = to_yaml(RunConfig()).splitlines(keepends=True)
    (tmp_path / "old.yaml").write_text("".join(line for line in lines if line.split(":")[0].strip() not in younger))
    config = load_config(tmp_path / "old.yaml", ["optim.learning_rate=0.02"])
    assert (config.optim.learning_rate, config.optim.lr_base_size) == (0.02, 0)
    assert (config.training.min_steps_per_epoch, config.training.keep) == (1, "best")
    (tmp_path / "new.yaml").write_text("optim: {learning_rate: 0.02}\n")
    assert load_config(tmp_path / "new.yaml").optim.lr_base_size == 64


def test_an_old_name_is_known_only_where_it_was(tmp_path):
    (tmp_path / "wrong.yaml").write_text("data: {train: a.csv, accumulate: 2}\n")
    with pytest.raises(ConfigError, match="unknown key 'accumulate'"):
        load_config(tmp_path / "wrong.yaml")


def test_weights_folders(tmp_path, caplog):
    model = create_model("lsn_resnet10t", num_classes=2, num_frames=4, readout_frames=2)
    save_weights(tmp_path, model, labels=["a", "b"], input=InputConfig(size=32, short_side=32), metrics={})
    text = (tmp_path / "config.json").read_text()
    assert '"readout_frames"' in text
    (tmp_path / "config.json").write_text(text.replace('"readout_frames"', '"answer_frames"'))
    assert load_weights(tmp_path).model.readout_frames == 2
    assert "answer_frames is now called readout_frames" in caplog.text


def test_options_of_commands(caplog):
    assert old_names.current_options(["stream", "w", "--silence=2", "--enter", "0.5", "--leave", "0.2", "a=b"]) == [
        *("stream", "w", "--max-gap=2", "--on-threshold", "0.5", "--off-threshold", "0.2", "a=b"),
    ]
    assert "--silence is now called --max-gap" in caplog.text
