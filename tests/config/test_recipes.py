"""The recipes that come with LSN: what differs and why, shown whole, and started by the commands in their headers."""

import ast
import dataclasses
import inspect
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml

from lsn.cli.app import app
from lsn.cli.commands.train import read_run
from lsn.config import RunConfig, load_config, settings, timelines, to_mapping
from lsn.config.recipes import copy_recipe, describe_recipe, find_recipe, list_recipes, read_recipe, show_recipe
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
    assert {
        "demo",
        "default",
        "few_clips",
        "fight",
        "gestures",
        "gestures_pretrain",
        "long",
        "motion",
        "stream",
        "two_events",
    } <= set(ALL)


def flat(sections: dict[str, dict[str, object]]) -> dict[str, object]:
    """By dotted name."""
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


DEFAULTS = flat(to_mapping(RunConfig()))


def differences(path: Path) -> dict[str, object]:
    """The values of a recipe that are not the defaults."""
    return {key: value for key, value in flat(to_mapping(load_config(path))).items() if value != DEFAULTS[key]}


def keys_with_comments(text: str) -> dict[str, tuple[str, str]]:
    """By dotted name in order: the comment above a key of a YAML file in block style, and the one beside it."""
    found, section, above = {}, "", ""
    for line in text.splitlines():
        if match := re.match(r"(\w+):", line):
            section, above = match[1], ""
        elif match := re.match(r"  (\w+): .*?(?: +# (.*))?$", line):
            name = f"{section}.{match[1]}"
            found[name], above = (above, match[2] or ""), ""
        elif match := re.match(r"  # (.*)", line):
            above = f"{above} {match[1]}".strip()
        elif (match := re.match(r" {4,}# (.*)", line)) and found:  # a comment beside that goes on
            last = list(found)[-1]
            found[last] = (found[last][0], f"{found[last][1]} {match[1]}")
    return found


@cache
def docs() -> dict[str, str]:
    """By dotted name in order: the docstrings below the fields of the settings."""
    sections = {field.default_factory.__name__: field.name for field in dataclasses.fields(RunConfig)}
    found = {}
    for node in [node for file in (settings, timelines) for node in ast.parse(inspect.getsource(file)).body]:
        if isinstance(node, ast.ClassDef) and node.name in sections:
            for field, below in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign):
                    found[f"{sections[node.name]}.{field.target.id}"] = below.value.value
    return found


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_holds_what_differs_and_why(name):
    held = flat(yaml.safe_load(read_recipe(name)))
    assert set(held) == set(differences(find_recipe(name)))
    reasons = keys_with_comments(read_recipe(name))
    assert list(reasons) == [key for key in DEFAULTS if key in held]  # in the order of the settings
    assert [key for key, (above, beside) in reasons.items() if above or len(beside) < 5] == []


def test_the_recipe_called_default_is_the_defaults():
    assert yaml.safe_load(read_recipe("default")) == {}
    assert load_config(find_recipe("default")) == RunConfig()


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_is_shown_with_every_key_and_what_it_means(name):
    shown = show_recipe(name)
    assert list(keys_with_comments(shown)) == list(DEFAULTS)
    assert {key: beside for key, (_, beside) in keys_with_comments(shown).items()} == docs()
    assert shown.startswith("\n".join(f"# {line}".rstrip() for line in header(name)[:2]))
    assert max(map(len, shown.splitlines())) <= 120
    assert shown.endswith("\n") and not shown.endswith("\n\n")


@pytest.mark.parametrize("name", ALL)
def test_what_differs_is_marked_with_the_default_and_the_reason(name):
    marked = {key: above for key, (above, _) in keys_with_comments(show_recipe(name)).items() if above}
    reasons = keys_with_comments(read_recipe(name))
    assert set(marked) == set(differences(find_recipe(name)))
    for key, said in marked.items():
        default, reason = re.fullmatch(r"instead of (.*?): (.*)", said).groups()
        assert yaml.safe_load(default) == DEFAULTS[key]
        assert reason == reasons[key][1]


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_that_is_copied_is_trained_as_the_recipe(tmp_path, name):
    path = copy_recipe(name, tmp_path)
    assert (path, path.read_text(encoding="utf-8")) == (tmp_path / f"{name}.yaml", show_recipe(name))
    assert read_run(str(path), []) == (path, load_config(find_recipe(name)))
    assert show_recipe(path) == show_recipe(name)


def test_a_recipe_of_your_own_is_shown_with_its_reasons(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "# Mine.\n\ndata:\n  # Said above,\n  # in two lines.\n  train: 'a: # b'\n  num_workers: 2  # the default\n"
        "training: {epochs: 7, accumulate: 4}  # of no key\n"
        "optim:\n    step_epochs:   # a list\n    - 2\n    - 3\n    schedule: step # said beside\n"
    )
    shown = show_recipe(path)
    marked = {key: above for key, (above, _) in keys_with_comments(shown).items() if above}
    assert shown.startswith("# Mine.\n\n# All keys.")
    assert marked == {
        "data.train": "instead of '': Said above, in two lines.",
        "optim.schedule": "instead of cosine: said beside",
        "optim.step_epochs": "instead of []",
        "training.epochs": "instead of 30",
        "training.grad_accum_steps": "instead of 1",
    }
    (tmp_path / "shown.yaml").write_text(shown)
    assert load_config(tmp_path / "shown.yaml") == load_config(path)


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
            read_run(recipe, overrides)


@pytest.mark.parametrize("name", ALL)
def test_the_header_trains_its_own_recipe(name):
    trained = [read_run(tokens[1], [])[0] for tokens in commands(name) if tokens[0] == "train"]
    assert find_recipe(name) in trained


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
def test_other_recipes_learn_from_states_if_they_are_for_long_videos(name):
    config = load_config(find_recipe(name))
    has_events = config.data.kind == "timelines"
    assert has_events == (config.input.sampling == "timed") == ("timeline" in name)
    assert has_events == (config.training.state_carry_prob > 0) == (config.training.tbptt_frames > 0)


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


def test_an_override_in_place_of_the_recipe_means_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, config = read_run("data.train=a/b=c.yaml", ["training.epochs=3"])
    assert path == find_recipe("default")
    assert differences(path) == {}
    assert (config.data.train, config.training.epochs) == ("a/b=c.yaml", 3)
    Path("runs/lr=2").mkdir(parents=True)
    for name in ("./lr=1.yaml", "runs/lr=2/mine.yaml"):  # a path, as it names a folder first
        Path(name).write_text("training: {epochs: 7}", encoding="utf-8")
        assert read_run(name, [])[1].training.epochs == 7
    with pytest.raises(ConfigError, match="unknown key 'lr'"):
        read_run("lr=1.yaml", [])


def test_copy_makes_folders_and_replaces_when_asked(tmp_path):
    path = copy_recipe("long", tmp_path / "new/mine.yaml")
    with pytest.raises(ConfigError, match="--overwrite"):
        copy_recipe("demo", path)
    assert copy_recipe("demo", path, overwrite=True).read_text(encoding="utf-8") == show_recipe("demo")
