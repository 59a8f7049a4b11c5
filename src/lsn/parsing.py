"""YAML and JSON that somebody else wrote, as plain data: bounded, and without silent surprises."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

MAX_YAML_NODES = 100_000
"""Values of a YAML text, each counted as often as aliases repeat it; recipes have some hundred."""
_MAX_DIGITS = 4300  # of integers that Python reads


def parse_yaml(text: str) -> Any:
    """The plain data that a YAML text stands for.

    Unlike `yaml.safe_load` it refuses a key that occurs twice in a mapping, aliases that refer to themselves or repeat
    their values without end, and whatever makes Python fail.

    Raises:
        ValueError: says in one line what is wrong, and where.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What PyYAML raises for an impossible date, a number of thousands of digits, a tag that does not fit.
        reason = str(error).split(";")[0]
        raise ValueError(f"a value that does not fit its type: {reason}") from None


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._num_nodes = 0
        self._size_of: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        before, is_alias, mark = self._num_nodes, self.check_event(yaml.AliasEvent), self.peek_event().start_mark
        node = super().compose_node(parent, index)
        assert node is not None
        if not is_alias:
            self._size_of[node] = 1 + self._num_nodes - before
            self._num_nodes += 1
        elif node in self._size_of:
            self._num_nodes += self._size_of[node]
        else:
            raise yaml.MarkedYAMLError(problem="an alias inside of what it refers to", problem_mark=mark)
        if self._num_nodes > MAX_YAML_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_YAML_NODES:,} values", problem_mark=mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written; what is merged into it by `<<` does not count as written twice."""
        node = super().compose_mapping_node(anchor)
        first: dict[Hashable, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            mark = first.setdefault((key.tag, key.value), key.start_mark)
            if mark is not key.start_mark:
                lines = f"in line {mark.line + 1} and in line {key.start_mark.line + 1}"
                raise yaml.YAMLError(f"the key {key.value!r:.80} occurs twice, {lines}; keep one")
        return node


def parse_json(text: str) -> Any:
    """Like `json.loads`, but whatever is wrong with the text is a `JSONDecodeError`.

    Raises:
        JSONDecodeError: also for numbers and nesting beyond what Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None
    except json.JSONDecodeError:
        raise
    except ValueError:
        number = re.search(rf"\d{{{_MAX_DIGITS + 1}}}", text)
        raise json.JSONDecodeError("a number of thousands of digits", text, number.start() if number else 0) from None


def to_json(value: Any) -> str:
    """JSON in one line that can be written as UTF-8: letters as they are, names that are not Unicode as escapes."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def is_name(text: str) -> bool:
    """Whether a text can name a file: it has no NUL, and can be written with the bytes of file names."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def is_unicode(text: str) -> bool:
    """Whether a text is valid Unicode; JSON and names of files can hold halves of characters."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)
