"""Recipes to settings and back: YAML with the sections of `RunConfig`, checked key by key.

Unknown keys and wrong types are refused with the allowed names; the resolved configuration is written beside the
outputs of each run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from lsn.config.old_names import current_key, current_keys
from lsn.config.settings import MAX_INTEGER, RunConfig
from lsn.errors import ConfigError, did_you_mean, shown
from lsn.files import MAX_RECIPE_BYTES, read_text
from lsn.parsing import is_name, parse_yaml

T = TypeVar("T")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a recipe and applies `section.key=value` overrides, whose values are YAML.

    Raises:
        ConfigError: the file is missing, is not YAML, or has an unknown key or a wrong value.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"{path}: no such recipe; `lsn recipes` lists those that come with LSN")
    text = read_text(path, "recipe", error=ConfigError, max_bytes=MAX_RECIPE_BYTES)
    loaded = _parse(text, f"{path}: not a readable YAML file")
    if not isinstance(loaded, dict):
        sections = ", ".join(f.name for f in dataclasses.fields(RunConfig))
        raise ConfigError(f"{path}: expected a mapping with the sections {sections}")
    for override in overrides:
        _apply_override(loaded, override)
    return from_mapping(RunConfig, loaded, where=str(path))


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Builds a configuration dataclass from plain data, checking names and types.

    Raises:
        ConfigError: names the place, the key, what was expected, and the nearest allowed name.
    """
    types_by_name = typing.get_type_hints(cls)
    hints = {f.name: types_by_name[f.name] for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    mapping = current_keys(mapping, hints)
    for key in mapping:
        if key not in hints:
            name = key if isinstance(key, str) else shown(key)
            raise ConfigError(f"{where}: unknown key {shown(key)}; {did_you_mean(name, hints)}")
    needed = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]  # type: ignore[arg-type]
    if lacking := [name for name in needed if name not in mapping]:
        raise ConfigError(f"{where}: {', '.join(lacking)} is missing; the file is not complete")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in mapping.items()})


def to_mapping(config: Any) -> dict[str, Any]:
    """Plain data of a configuration, for YAML and JSON; `from_mapping` reads it back."""
    mapping: dict[str, Any] = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        mapping[entry.name] = [_plain(item) for item in value] if isinstance(value, tuple) else _plain(value)
    return mapping


def _plain(value: Any) -> Any:
    return to_mapping(value) if dataclasses.is_dataclass(value) else value


def to_yaml(config: RunConfig) -> str:
    """The resolved recipe as YAML text."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False)


def _apply_override(mapping: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{shown(override)}: expected section.key=value, for example training.epochs=10")
    *parents, last = key.split(".")
    for parent in parents:
        mapping = mapping.setdefault(parent, {})
        if not isinstance(mapping, dict):
            raise ConfigError(f"{shown(override)}: {shown(parent)} is not a section")
    sections = typing.get_type_hints(RunConfig)
    if len(parents) == 1 and parents[0] in sections:
        last = current_key(last, typing.get_type_hints(sections[parents[0]]))
    mapping[last] = _parse(text, f"{shown(override)}: the value is not YAML")


def _parse(text: str, what: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Checks plain data against a type hint; integers pass as floats and lists become tuples."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a section, got {shown(value)}")
        return from_mapping(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = (a for a in arguments if a is not types.NoneType)
        return _convert(inner, value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            name = value if isinstance(value, str) else shown(value)
            raise ConfigError(f"{where}: {shown(value)} is not allowed; {did_you_mean(name, map(str, arguments))}")
        return arguments[arguments.index(value)]  # 3 where YAML says 3.0
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {shown(value)}")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-3 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER:
        raise ConfigError(f"{where}: expected a number of at most 64 bits, got {shown(value)}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: expected a finite number, got {value!r}")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {shown(value)}")
    if isinstance(value, str) and not is_name(value):
        raise ConfigError(f"{where}: expected text without NUL and halves of characters, got {shown(value)}")
    return value
