"""Plain data as nobody should write it: JSON and YAML with wrong types, sizes, names and repetitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

Path = tuple[int, ...]


@dataclass(frozen=True)
class Raw:
    """Text that goes into the file as it is."""

    text: str


@dataclass
class Mapping:
    """A mapping whose keys may repeat."""

    pairs: list[tuple[Any, Any]]


ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 3.0, 1e-320, 1e5, 1e308, 10**5, 10**9, 2**31, 2**63, 2**64, -(2**63),
    10**30, "", " ", "0", "-1", "true", "null", "nan", "1e9", "a" * 5000, "naïve ✓ 日本語", "\u202e\u0000\x1b[31m",
    "../../../etc/passwd", "/dev/zero", "=1+1", [], [[]], [None], [1, "a", None], [0] * 1000,
    Raw('"\\ud800"'), Raw("1" * 400), Raw("1" * 5000), Raw("1e400"), Raw("NaN"), Raw("-Infinity"),
    Raw("[" * 200 + "]" * 200), Raw("[" * 100_000 + "]" * 100_000), Raw('{"a":' * 5000 + "1" + "}" * 5000), Raw("{}"),
    Raw('{"": null}'),
)  # fmt: skip
"""What takes the place of a value."""


def as_nodes(value: Any) -> Any:
    """Plain data with every dictionary as a `Mapping`."""
    if isinstance(value, dict):
        return Mapping([(key, as_nodes(item)) for key, item in value.items()])
    return [as_nodes(item) for item in value] if isinstance(value, list | tuple) else value


def as_json(node: Any) -> str:
    """Nodes as JSON, which YAML reads too."""
    if isinstance(node, Raw):
        return node.text
    if isinstance(node, Mapping):
        return "{" + ",\n".join(f"{as_json(key)}: {as_json(item)}" for key, item in node.pairs) + "}"
    if isinstance(node, list):
        return f"[{', '.join(map(as_json, node))}]"
    return json.dumps(node)


def mutated(
    value: Any, random: Random, *, odd_values: Sequence[Any] = ODD_VALUES, odd_keys: Sequence[str] = ()
) -> tuple[str, str]:
    """Plain data, changed in one to three ways, as JSON; and what was changed.

    Args:
        value: dictionaries, lists and plain values.
        random: decides everything.
        odd_values: what takes the place of values.
        odd_keys: keys that are added.
    """
    root, said = as_nodes(value), []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        root, what = _changed(root, random, odd_values, odd_keys)
        said.append(what)
    return as_json(root), "; ".join(said)


def _changed(root: Any, random: Random, odd_values: Sequence[Any], odd_keys: Sequence[str]) -> tuple[Any, str]:
    """The data with one change, made in place unless it is of the whole."""
    positions = list(_places(root, "", root=True))
    container, key, name = random.choice(positions)
    if container is None:
        if random.random() < 0.2 or not isinstance(root, Mapping):
            odd = random.choice(odd_values)
            return as_nodes(odd), f"all is {_short(odd)}"
        container, key, name = random.choice(positions[1:] or positions)
        if container is None:
            return root, "nothing"
    kind = random.choice(("value", "value", "value", "value", "drop", "repeat", "rename", "add", "wrap"))
    items = container.pairs if isinstance(container, Mapping) else container
    if kind == "drop":
        del items[key]
    elif kind == "repeat":
        items.insert(random.randrange(len(items) + 1), items[key])
    elif kind == "add" and odd_keys and isinstance(container, Mapping):
        new = random.choice(odd_keys)
        items.append((new, random.choice((True, "a", 3, None, [1]))))
        return root, f"{name}: another key {new!r}"
    elif kind == "rename" and isinstance(container, Mapping):
        odd = random.choice((*odd_keys, "x", "", "日本", str(items[key][0]).upper(), f"{items[key][0]} "))
        items[key] = odd, items[key][1]
    else:
        old = items[key][1] if isinstance(container, Mapping) else items[key]
        odd = random.choice(([old], Mapping([("a", old)]), str(old))) if kind == "wrap" else random.choice(odd_values)
        items[key] = (items[key][0], as_nodes(odd)) if isinstance(container, Mapping) else as_nodes(odd)
        return root, f"{name} is {_short(odd)}"
    return root, f"{kind} {name}"


def _places(node: Any, name: str, *, root: bool = False) -> Any:
    """Every value of the data: its container, where it is in that, and its name; the whole has none."""
    if root:
        yield None, None, "all"
    items = node.pairs if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for index, (key, item) in enumerate(items):
        below = f"{name}.{key}" if name else str(key)
        yield node, index, below
        yield from _places(item, below)


def _short(value: Any) -> str:
    text = value.text if isinstance(value, Raw) else repr(value)
    return text if len(text) <= 40 else f"{text[:25]}... ({len(text)})"
