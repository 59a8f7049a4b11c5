"""`lsn recipes`: the experiments that come with LSN."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from lsn.cli.ui.console import columns, output
from lsn.config.recipes import copy_recipe, describe_recipe, list_recipes, show_recipe

recipes = App(name="recipes", help="List, show or copy the experiments that come with LSN.")


@recipes.default
@recipes.command(name="list")
def list_() -> None:
    """List the recipes and what each is for."""
    table = columns("Recipe", "What it is for")
    for name in list_recipes():
        table.add_row(name, describe_recipe(name))
    output().print(table)


@recipes.command
def show(recipe: str, /) -> None:
    """Print a recipe with every key, what it means, and why it is not the default where it is not.

    Parameters
    ----------
    recipe
        A name of `lsn recipes`, or your own YAML file.
    """
    print(show_recipe(recipe), end="")


@recipes.command
def copy(recipe: str, destination: Path = Path(), /, *, overwrite: bool = False) -> None:
    """Write a recipe, as `show` prints it, to a file to edit.

    Keys that you take out of it keep their defaults.

    Parameters
    ----------
    recipe
        A name of `lsn recipes`, or your own YAML file.
    destination
        A file, or a folder to keep the recipe's name; by default the current folder.
    overwrite
        Replace the file if it exists.
    """
    path = copy_recipe(recipe, destination, overwrite=overwrite)
    output().print(f"{path} written. Edit it, then: lsn train {path if path.parent.name else f'./{path}'}")
