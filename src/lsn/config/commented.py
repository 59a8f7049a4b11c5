"""A configuration as complete YAML: beside every key what it means, above one that is not its default the reason."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import yaml

from lsn.config.loading import to_mapping
from lsn.config.old_names import current_key
from lsn.config.settings import RunConfig

_LINE_WIDTH = 120
_MAX_COLUMN = 30
"""Where the comments of a section begin at most; those of longer values stand further right."""
_NARROWEST = 30
"""Comments are not squeezed beside a long value."""
_INSTEAD_OF = "instead of "


def to_commented_yaml(config: RunConfig, reasons: Mapping[str, str]) -> str:
    """Every key of a configuration, in order, with its comment; `load_config` reads the same configuration back.

    Args:
        config: The configuration.
        reasons: By dotted name, why a value is not the default; those of values that are the default are left out.
    """
    values, defaults = to_mapping(config), to_mapping(RunConfig())
    parts = []
    for section in dataclasses.fields(config):
        section_type = type(getattr(config, section.name))
        mine, usual, docs = values[section.name], defaults[section.name], field_docs(section_type)
        entries = {key: f"  {key}: {_value(value)}" for key, value in mine.items()}
        column = 2 + min(max(map(len, entries.values())), _MAX_COLUMN - 2)
        lines = [f"{section.name}:  # {inspect.getdoc(section_type)}"]
        for key, entry in entries.items():
            if mine[key] != usual[key]:
                lines += _reason(usual[key], reasons.get(f"{section.name}.{key}", ""))
            lines += _beside(entry, docs[key], column)
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def field_docs(section_type: type) -> Mapping[str, str]:
    """What the docstrings below the fields of a dataclass say, by field; they are in its source only."""
    (definition,) = ast.parse(inspect.getsource(section_type)).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[ast.unparse(field.target)] = str(below.value.value)
    return docs


def read_reasons(text: str) -> dict[str, str]:
    """The reasons in a YAML file that has been loaded without error: the comments above keys, or beside their values.

    What `to_commented_yaml` adds to a reason is left out, so that a file it wrote has the reasons that it was given.

    Returns:
        By dotted name.
    """
    lines = text.splitlines()
    sections = typing.get_type_hints(RunConfig)
    reasons = {}
    for section, values in _entries(yaml.compose(text, Loader=yaml.SafeLoader)):
        if section.value not in sections:
            continue  # what `<<` merges
        docs = field_docs(sections[section.value])
        for key, value in _entries(values):
            name = current_key(key.value, docs)
            reason = _comment_above(lines, key.start_mark)
            if reason.startswith(_INSTEAD_OF):
                reason = reason.partition(": ")[2]
            if not reason and not docs.get(name, "").startswith(beside := _comment_beside(lines, value.end_mark)):
                reason = beside
            if reason:
                reasons[f"{section.value}.{name}"] = reason
    return reasons


def _entries(mapping: yaml.Node | None) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if isinstance(mapping, yaml.MappingNode):
        yield from mapping.value


def _comment_above(lines: list[str], mark: yaml.Mark) -> str:
    """The lines of comment directly above a key that begin in its column."""
    row = mark.line
    found: list[str] = []
    while row > 0 and lines[row - 1].startswith(" " * mark.column + "#"):
        row -= 1
        found.insert(0, _text(lines[row]))
    return " ".join(found)


def _comment_beside(lines: list[str], mark: yaml.Mark) -> str:
    """The comment that follows on a value in its line."""
    rest = lines[mark.line][mark.column :].strip() if mark.line < len(lines) else ""
    return _text(rest) if rest.startswith("#") else ""


def _text(comment: str) -> str:
    return comment.strip().lstrip("#").strip()


def _value(value: Any) -> str:
    """A value as YAML in one line."""
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    text = yaml.safe_dump(value, default_flow_style=True, default_style=style, allow_unicode=True, width=sys.maxsize)
    return text.removesuffix("\n").removesuffix("\n...")


def _reason(default: Any, reason: str) -> list[str]:
    text = f"{_INSTEAD_OF}{_value(default)}" + (f": {reason}" if reason else "")
    return [f"  # {line}" for line in _wrapped(text, _LINE_WIDTH - 4)]


def _beside(entry: str, doc: str, column: int) -> list[str]:
    """A line with a comment, which goes on below where the line would be too long."""
    start = max(column, len(entry) + 2)
    first, *others = _wrapped(doc, _LINE_WIDTH - start - 2)
    return [f"{entry:<{start}}# {first}", *(f"{'':{start}}# {line}" for line in others)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, _NARROWEST), break_long_words=False, break_on_hyphens=False)
