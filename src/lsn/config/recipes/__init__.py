"""Recipes: one YAML file per experiment, with what differs from the defaults and why.

A recipe's name is its file's name without `.yaml`. The first line of its header says what it is for.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from lsn.config.commented import read_reasons, to_commented_yaml
from lsn.config.loading import load_config
from lsn.config.settings import RunConfig
from lsn.errors import ConfigError, did_you_mean
from lsn.files import MAX_RECIPE_BYTES, read_text, write_text

__all__ = ["copy_recipe", "describe_recipe", "find_recipe", "list_recipes", "read_recipe", "show_recipe"]

_FOLDER = Path(__file__).parent
_LEGEND = "# All keys. The line above a value that differs from the default names the default, and the reason."


def list_recipes() -> list[str]:
    """Names of the recipes that come with LSN, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def find_recipe(recipe: str | Path) -> Path:
    """The file of a recipe, given its name or a path.

    What ends in `.yaml` or `.yml`, or names a folder too (`./mine`), is a path; anything else is a name.

    Raises:
        ConfigError: there is no recipe of that name, or no such file.
    """
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml") or str(recipe) != path.name:
        if not path.exists():
            raise ConfigError(f"{path}: no such recipe file; `lsn recipes` lists those that come with LSN")
        if not path.stem.strip("."):  # runs are named after their recipes, and .. would be the folder above
            raise ConfigError(f"{path}: a recipe needs a name before its ending; rename it, for example to my.yaml")
        return path
    if (name := str(recipe)) not in list_recipes():
        raise ConfigError(f"no recipe is called {name!r}; {did_you_mean(name, list_recipes())}")
    return _FOLDER / f"{name}.yaml"


def read_recipe(name: str | Path) -> str:
    """The YAML text of a recipe as it is: its header, and what differs from the defaults.

    Raises:
        ConfigError: there is no such recipe, or it cannot be read.
    """
    return read_text(find_recipe(name), "recipe", error=ConfigError, max_bytes=MAX_RECIPE_BYTES)


def describe_recipe(name: str | Path) -> str:
    """What a recipe is for: the first line of its header."""
    return read_recipe(name).partition("\n")[0].lstrip("# ")


def show_recipe(name: str | Path) -> str:
    """A recipe as complete YAML: its header, and every key with what it means; what is not the default is marked.

    Raises:
        ConfigError: there is no such recipe, or it cannot be read.
    """
    config, text = load_config(find_recipe(name)), read_recipe(name)
    top = takewhile(lambda line: line.startswith("#") or not line.strip(), text.splitlines())
    header = "\n".join(line for line in top if line != _LEGEND).strip()
    legend = _LEGEND if config != RunConfig() else ""
    return "\n\n".join(part for part in (header, legend, to_commented_yaml(config, read_reasons(text))) if part)


def copy_recipe(name: str | Path, destination: str | Path, *, overwrite: bool = False) -> Path:
    """Writes a recipe as complete YAML, to edit it; a folder as destination keeps the recipe's name.

    Returns:
        The file written.

    Raises:
        ConfigError: there is no such recipe, or the file exists and `overwrite` is not set.
    """
    text = show_recipe(name)
    path = Path(destination)
    if path.is_dir():
        path = path / find_recipe(name).name
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: exists already; choose another name, or add --overwrite")
    write_text(path, text)
    return path
