"""Recipes: one complete YAML file an experiment, with every key and what it means.

A recipe's name is its file's name without `.yaml`. The first line of its header says what it is for.
"""

from __future__ import annotations

from pathlib import Path

from lsn.errors import ConfigError, did_you_mean
from lsn.files import MAX_RECIPE_BYTES, read_text, write_text

__all__ = ["copy_recipe", "describe_recipe", "find_recipe", "list_recipes", "read_recipe"]

_FOLDER = Path(__file__).parent


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
    """The YAML text of a recipe, with its comments.

    Raises:
        ConfigError: there is no such recipe, or it cannot be read.
    """
    return read_text(find_recipe(name), "recipe", error=ConfigError, max_bytes=MAX_RECIPE_BYTES)


def describe_recipe(name: str | Path) -> str:
    """What a recipe is for: the first line of its header."""
    return read_recipe(name).partition("\n")[0].lstrip("# ")


def copy_recipe(name: str | Path, destination: str | Path, *, overwrite: bool = False) -> Path:
    """Copies a recipe to edit it; a folder as destination keeps the recipe's name.

    Returns:
        The file written.

    Raises:
        ConfigError: there is no such recipe, or the file exists and `overwrite` is not set.
    """
    text = read_recipe(name)
    path = Path(destination)
    if path.is_dir():
        path = path / find_recipe(name).name
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: exists already; choose another name, or add --overwrite")
    write_text(path, text)
    return path
