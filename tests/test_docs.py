"""The commands that docs/ shows are ones that `lsn` knows, with recipes and keys that exist."""

import re
import shlex
from pathlib import Path

import pytest

from lsn.cli.app import app
from lsn.cli.commands.train import read_run
from lsn.config.recipes.tables import find_table

DOCS = Path(__file__).parents[1] / "docs"
COMMANDS = [
    (page.name, line[line.index("lsn ") + 4 :])
    for page in sorted(DOCS.glob("*.md"))
    for line in page.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    if re.match(r"(    |- )?(torchrun \S+ \S+ -m )?lsn [a-z]", line)
]


def test_there_are_commands_to_check():
    assert {page for page, _ in COMMANDS} >= {"results.md", "reproduction.md"}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_of_the_docs_is_valid(page, line):
    command, bound, *_ = app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    if command.__name__ == "train":
        recipe, *overrides = bound.args
        read_run("default" if recipe.endswith(".yaml") else recipe, overrides)  # the reader's own file is not here
    if command.__name__ == "reproduce" and bound.args:
        table, *rows = bound.args
        assert find_table(table).choose([row for row in rows if "=" not in row])
