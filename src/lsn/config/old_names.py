"""Names of LSN 0.1.0 that have changed: its recipes, weights and options still work, with one line of notice."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

_KEYS = {
    "accumulate": "grad_accum_steps",
    "answer_frames": "readout_frames",
    "carry_state": "state_carry_prob",
    "chunk_frames": "tbptt_frames",
    "early_stop": "early_exit",
    "new_layer_factor": "new_layer_lr_mult",
}
_OPTIONS = {"--silence": "--max-gap", "--enter": "--on-threshold", "--leave": "--off-threshold"}


def current_key(key: str, known: Container[str]) -> str:
    """The present name of a setting, if it is one that was renamed and the place knows the new one."""
    if key in known or _KEYS.get(key) not in known:
        return key
    _say_once(key, _KEYS[key])
    return _KEYS[key]


def current_keys(mapping: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Settings by their present names; where a setting is there by both, the present one counts."""
    renamed = {current_key(key, known): value for key, value in mapping.items()}
    return renamed | {key: value for key, value in mapping.items() if key in renamed}


def current_options(arguments: Sequence[str]) -> list[str]:
    """Arguments of a command with the present names of its options."""
    current = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in _OPTIONS:
            _say_once(name, _OPTIONS[name])
        current.append(_OPTIONS.get(name, name) + equals + value)
    return current


@cache
def _say_once(old: str, new: str) -> None:
    logger.warning("%s is now called %s", old, new)
