"""docs/: its commands are ones that `lsn` knows, with recipes and keys that exist, and its pages build."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lsn
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


def test_the_api_reference_has_all_public_rooms_and_names():
    pages = {page.stem for page in (DOCS / "api").glob("*.md")}
    rooms = {path.parent.name for path in Path(lsn.__file__).parent.glob("*/__init__.py")}
    assert pages == {"index", "lsn", "errors"} | rooms - {"cli"}
    assert set(re.findall(r"`lsn\.(\w+) <", (DOCS / "api/lsn.md").read_text(encoding="utf-8"))) == set(lsn.__all__)


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path):
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "api/data.html").read_text(encoding="utf-8")
    assert (
        "Names of the frames in a folder, such as" in reference
    )  # a field's docstring, of a class from below the room
