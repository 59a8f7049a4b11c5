"""Recipes as they are read: what is accepted, what is refused, and what the refusal says."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lsn.config import (
    EvaluationConfig,
    InputConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainingConfig,
    from_mapping,
    load_config,
    to_mapping,
    to_yaml,
)
from lsn.config.commented import field_docs, read_reasons, to_commented_yaml
from lsn.errors import ConfigError, did_you_mean


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(call, *arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_sections_and_keys_that_are_left_out_keep_their_defaults(tmp_path):
    config = load_config(write(tmp_path, "model: {name: tsn_resnet18}\ndata: {train: a.csv}\n"))
    assert config.model.name == "tsn_resnet18"
    assert config.data.train == "a.csv"
    assert config.training == TrainingConfig()


def test_values_arrive_with_their_types(tmp_path):
    text = """
    model: {memory_stages: [1, 3], memory: convlstm}
    input: {scales: [1, 0.5]}
    optim: {learning_rate: 1e-3, clip_grad_norm: 5}
    """
    config = load_config(write(tmp_path, text))
    assert config.model.memory_stages == (1, 3)
    assert config.input.scales == (1.0, 0.5)
    assert [type(scale) for scale in config.input.scales] == [float, float]
    assert config.optim.learning_rate == 0.001  # which YAML reads as text
    assert type(config.optim.clip_grad_norm) is float


def test_overrides_are_yaml_and_win_over_the_file(tmp_path):
    path = write(tmp_path, "training: {epochs: 3}\nmodel: {memory: convlstm}\n")
    overrides = ["training.epochs=7", "model.memory=null", "input.scales=[1.0]", "data.train=a=b.csv"]
    config = load_config(path, overrides)
    assert (config.training.epochs, config.model.memory, config.input.scales) == (7, None, (1.0,))
    assert config.data.train == "a=b.csv"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("traning: {epochs: 3}", ["mine.yaml", "'traning'", "did you mean 'training'?"]),
        ("training: {epoch: 3}", ["mine.yaml: training", "'epoch'", "did you mean 'epochs'?"]),
        ("training: {epochs: three}", ["mine.yaml: training: epochs", "expected int", "'three'"]),
        ("training: {epochs: 2.5}", ["epochs", "expected int", "2.5"]),
        ("training: {epochs: true}", ["epochs", "expected int", "True"]),
        ("training: {tensorboard: 1}", ["tensorboard", "expected bool", "1"]),
        ("training: 3", ["mine.yaml: training", "expected a section", "3"]),
        ("optim: {optimizer: adam}", ["'adam'", "did you mean 'adamw'?"]),
        ("optim: {learning_rate: fast}", ["learning_rate", "expected float", "'fast'"]),
        ("optim: {learning_rate: .inf}", ["learning_rate", "a finite number", "inf"]),
        ("optim: {weight_decay: nan}", ["weight_decay", "a finite number", "nan"]),
        ("input: {scales: 1.0}", ["scales", "expected a list"]),
        ("evaluation: {num_crops: 2}", ["num_crops", "2", "1, 3"]),
        ("- a\n- b", ["mine.yaml", "sections model, data, input, optim, training, evaluation"]),
        ("model: [unclosed", ["mine.yaml", "not a readable YAML file"]),
        ("", ["mine.yaml", "sections"]),
    ],
)
def test_a_wrong_recipe_names_the_place_and_the_way_out(tmp_path, text, expected):
    said = message(load_config, write(tmp_path, text))
    for part in expected:
        assert part in said


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs", ["'training.epochs'", "section.key=value"]),
        ("training.epohcs=3", ["'epohcs'", "did you mean 'epochs'?"]),
        ("training.epochs.more=3", ["'training.epochs.more=3'", "'epochs' is not a section"]),
        ("training.epochs=[1", ["'training.epochs=[1'", "not YAML"]),
        ("epochs=3", ["'epochs'", "choose from"]),
    ],
)
def test_a_wrong_override_is_named(tmp_path, override, expected):
    said = message(load_config, write(tmp_path, "training: {epochs: 3}"), [override])
    for part in expected:
        assert part in said


def test_a_missing_recipe_points_to_those_that_come_with_lsn(tmp_path):
    assert "lsn recipes" in message(load_config, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        (ModelConfig, {"num_frames": 0}, "model.num_frames is 0"),
        (ModelConfig, {"dropout": 1.0}, "model.dropout"),
        (
            ModelConfig,
            {"num_frames": 8, "readout_frames": 9},
            "model.readout_frames is 9; it must be between 1 and model.num_frames (8)",
        ),
        (InputConfig, {"size": 0}, "input.size"),
        (
            InputConfig,
            {"size": 224, "short_side": 200},
            "input.short_side is 200; it must be at least input.size (224)",
        ),
        (InputConfig, {"scales": ()}, "input.scales"),
        (InputConfig, {"scales": (1.5,)}, "input.scales"),
        (InputConfig, {"rand_augment_magnitude": 31}, "input.rand_augment_magnitude"),
        (InputConfig, {"fps": 0.0}, "input.fps is 0.0; it must be above 0"),
        (InputConfig, {"fps_jitter": 0.5}, "input.fps_jitter is 0.5; it must be at least 1"),
        (OptimConfig, {"learning_rate": 0.0}, "optim.learning_rate"),
        (OptimConfig, {"beta2": 1.0}, "optim.beta2"),
        (OptimConfig, {"schedule": "step"}, "optim.step_epochs"),
        (TrainingConfig, {"epochs": 0}, "training.epochs"),
        (TrainingConfig, {"ema_decay": 1.0}, "training.ema_decay"),
        (TrainingConfig, {"state_carry_prob": 1.5}, "training.state_carry_prob is 1.5; it must be in [0, 1]"),
        (TrainingConfig, {"tbptt_frames": -1}, "training.tbptt_frames is -1; it must be 0 or more"),
        (TrainingConfig, {"compile": True, "grad_checkpointing": True}, "cannot go together"),
        (EvaluationConfig, {"num_clips": 0}, "evaluation.num_clips"),
        (EvaluationConfig, {"num_clips": 1001}, "evaluation.num_clips is 1001; it must be between 1 and 1000"),
        (
            RunConfig,
            {"model": ModelConfig(readout_frames=2), "training": TrainingConfig(tbptt_frames=4)},
            "model.readout_frames is 2 and training.tbptt_frames 4",
        ),
    ],
)
def test_values_out_of_range_are_refused_by_name(section, values, named):
    assert named in message(lambda: section(**values))


@pytest.mark.parametrize("section", dataclasses.fields(RunConfig), ids=lambda section: section.name)
def test_every_field_says_in_one_line_what_it_is(section):
    docs = field_docs(section.default_factory)
    assert list(docs) == [field.name for field in dataclasses.fields(section.default_factory)]
    assert [doc for doc in docs.values() if "\n" in doc or not doc.endswith(".") or len(doc) > 95] == []


small = st.floats(0.001, 0.9)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
configs = st.builds(
    RunConfig,
    model=st.builds(
        ModelConfig,
        num_frames=st.integers(1, 64),
        memory=st.sampled_from([None, "none", "convlstm"]),
        memory_stages=st.none() | st.lists(st.integers(0, 3)).map(tuple),
        initial_weights=st.none() | names,
    ),
    optim=st.builds(OptimConfig, learning_rate=small, step_epochs=st.lists(small, min_size=1).map(tuple)),
    training=st.builds(TrainingConfig, epochs=st.integers(1, 99), device=names, tensorboard=st.booleans()),
)


@settings(max_examples=25)
@given(config=configs)
def test_a_config_survives_yaml(config):
    assert from_mapping(RunConfig, yaml.safe_load(to_yaml(config)), where="test") == config
    assert from_mapping(RunConfig, to_mapping(config), where="test") == config
    assert from_mapping(RunConfig, yaml.safe_load(to_commented_yaml(config, {})), where="test") == config


@settings(max_examples=25)
@given(config=configs, reason=st.from_regex(r"[a-z]+( [a-z:#'-]+){0,30}", fullmatch=True))
def test_reasons_survive_yaml(config, reason):
    now, usual = (
        {f"{section}.{key}": value for section, values in to_mapping(each).items() for key, value in values.items()}
        for each in (config, RunConfig())
    )
    written = to_commented_yaml(config, dict.fromkeys(now, reason))
    assert read_reasons(written) == {key: reason for key in now if now[key] != usual[key]}


def test_suggestions_are_near_names_or_all_names():
    assert did_you_mean("epoch", ["epochs", "seed"]) == "did you mean 'epochs'?"
    assert did_you_mean("zzz", ["seed", "epochs"]) == "choose from: epochs, seed"


def test_a_choice_is_the_allowed_value_and_not_one_that_equals_it():
    chosen = from_mapping(EvaluationConfig, {"num_crops": 3.0}, "recipe")
    assert isinstance(chosen.num_crops, int)
