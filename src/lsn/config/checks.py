"""How settings refuse a value."""

from __future__ import annotations

from typing import Any

from lsn.errors import ConfigError, shown


def require(holds: bool, name: str, value: Any, expected: str) -> None:
    """Refuses a value unless a condition holds.

    Raises:
        ConfigError: names the setting, its value and what was expected.
    """
    if not holds:
        raise ConfigError(f"{name} is {shown(value)}; it must be {expected}")
