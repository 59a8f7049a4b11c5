"""What has changed since the first recipes, weights and commands: they still work, with one line of notice."""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Mapping, Sequence
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
_MEANT_BEFORE = {
    "zero_init_memory": True,
    "frame_differences": False,
    "test": None,
    "lr_base_size": 0,
    "min_steps_per_epoch": 1,
    "keep": "best",
    "calibrate": False,
    "kind": "clips",
    "multi_label": False,
}
"""Settings that are younger than runs that can be resumed, with what those did."""
_OPTIONS = {"--silence": "--max-gap", "--enter": "--on-threshold", "--leave": "--off-threshold"}


def current_key(key: str, known: Container[str]) -> str:
    """The present name of a setting, if it is one that was renamed and the place knows the new one."""
    if key in known or _KEYS.get(key) not in known:
        return key
    _say_once(key, _KEYS[key])
    return _KEYS[key]


def current_keys(mapping: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Settings by their present names; where a setting is there by both, the present one counts.

    A section that holds all settings but those of `_MEANT_BEFORE` is of a run that was trained before there were any,
    and gets what it did.
    """
    renamed = {current_key(key, known): value for key, value in mapping.items()}
    renamed |= {key: value for key, value in mapping.items() if key in renamed}
    missing = {key for key in known if key not in renamed}
    return {key: _MEANT_BEFORE[key] for key in missing} | renamed if missing <= _MEANT_BEFORE.keys() else renamed


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
