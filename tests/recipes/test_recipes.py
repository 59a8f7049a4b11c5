"""The recipes that come with LSN: whole, explained, and started by the commands in their headers."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import yaml

from lsn.cli.app import app
from lsn.config import RunConfig, load_config
from lsn.config.recipes import copy_recipe, describe_recipe, find_recipe, list_recipes, read_recipe
from lsn.errors import ConfigError
from lsn.models import create_model
from lsn.models.factory import FAMILIES

ALL = list_recipes()


def header(name: str) -> list[str]:
    """The lines of comment at the start, without their sign; commands that go on are joined."""
    lines = read_recipe(name).split("\n\n")[0].splitlines()
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
    return re.sub(r"\\\n\s*", "", text).splitlines()


def commands(name: str) -> list[list[str]]:
    """The command lines of the header that start with lsn, without that word."""
    found = [shlex.split(line) for line in header(name) if line.startswith("  ")]
    found = [line[line.index("lsn") + 1 :] for line in found if "lsn" in line]
    assert found, f"{name}: no command in its header"
    return found


def test_the_promised_recipes_are_there():
    assert {"demo", "default", "fight", "gestures", "gestures_pretrain", "long", "stream", "two_events"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_has_every_key_and_loads(name):
    recipe = yaml.safe_load(read_recipe(name))
    sections = {section.name: section.default_factory for section in dataclasses.fields(RunConfig)}
    assert list(recipe) == list(sections)
    for section, values in recipe.items():
        assert list(values) == [field.name for field in dataclasses.fields(sections[section])]
    assert load_config(find_recipe(name)).model.name.startswith("lsn_")


@pytest.mark.parametrize("name", ALL)
def test_every_line_of_a_recipe_is_explained(name):
    body = [line for line in read_recipe(name).splitlines() if line and not line.startswith("#")]
    assert [line for line in body if not re.search(r"\S +# \S", line)] == []
    assert max(map(len, body)) <= 130


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_says_in_one_line_what_it_is_for(name):
    said = describe_recipe(name)
    assert said == header(name)[0]
    assert 20 < len(said) <= 115
    assert said.endswith(".")


@pytest.mark.parametrize("name", ALL)
def test_the_commands_of_the_header_are_valid(name):
    for tokens in commands(name):
        command, bound, *_ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        if command.__name__ == "train":
            recipe, *overrides = bound.args
            load_config(find_recipe(recipe), overrides)


@pytest.mark.parametrize("name", ALL)
def test_the_header_trains_its_own_recipe(name):
    assert [tokens for tokens in commands(name) if tokens[:2] == ["train", name]]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_recipe_for_streams_makes_any_family_causal(family):
    config = load_config(find_recipe("stream"), [f"model.name={family}_test_resnet"])
    model = create_model(config.model.name, num_classes=2, **config.model.overrides())
    assert model.shift == "causal" and model.is_causal


def test_the_recipe_for_streams_samples_by_time_and_carries_states():
    config = load_config(find_recipe("stream"))
    assert (config.input.sampling, config.input.fps, config.input.fps_jitter) == ("timed", 8.0, 1.5)
    assert (config.training.state_carry_prob, config.training.tbptt_frames) == (0.5, 0)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"stream"}))
def test_no_other_recipe_learns_from_states(name):
    config = load_config(find_recipe(name))
    assert config.input.sampling in ("segments", "dense")
    assert (config.training.state_carry_prob, config.training.tbptt_frames) == (0.0, 0)


def test_find_knows_names_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo.yaml").write_text("{}", encoding="utf-8")
    Path("demo").mkdir()
    assert find_recipe("demo.yaml") == Path("demo.yaml")
    assert find_recipe("./demo.yaml") == Path("demo.yaml")
    Path("mine").write_text("{}", encoding="utf-8")
    assert find_recipe("./mine") == Path("mine")
    assert find_recipe("demo").parent.name == "recipes"


@pytest.mark.parametrize("wrong", ["dmeo", "", "demo.yaml", "folder/demo"])
def test_find_refuses_what_is_not_there(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"demo|lsn recipes"):
        find_recipe(wrong)


def test_copy_into_a_folder_keeps_the_name(tmp_path):
    assert copy_recipe("long", tmp_path) == tmp_path / "long.yaml"
    assert copy_recipe("long", tmp_path / "new/mine.yaml").read_text(encoding="utf-8") == read_recipe("long")
