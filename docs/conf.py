"""Settings of Sphinx for `make docs`."""

from __future__ import annotations

import re
from importlib.util import find_spec

from sphinx.application import Sphinx

import lsn

project = "LSN"
author = "the authors of LSN"
version = release = lsn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"LSN {release}"
highlight_language = "text"  # of indented blocks, which show commands
myst_heading_anchors = 3  # as GitHub names them: the pages are read there too

autodoc_mock_imports = [name for name in ("ray", "pyarrow") if find_spec(name) is None]  # of the extra `ray`

default_role = "code"  # docstrings write `name` for code
napoleon_numpy_docstring = False
autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource"}
maximum_signature_line_length = 100


def plain_text(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `code` in it: keeps the signs of reStructuredText in them from being marks."""
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]  # outside of `code`
        lines[number] = "`".join(parts)
    if what in ("attribute", "data", "property"):
        # Napoleon would take what stands before a colon in the first line, here an empty comment, for the type.
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> None:
    """Registers what is above."""
    app.connect("autodoc-process-docstring", plain_text, priority=400)  # before Napoleon
