"""Stream states on disk: where one process stops, another continues, bit for bit under the same runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lsn.errors import WeightsError, shown
from lsn.inference.runtimes.contract import Runtime
from lsn.tensor_file import TensorFile, TensorKind, misfits, open_tensors, write_tensors

MAX_STATE_BYTES = 1 << 30
"""The state of a stream has some megabytes, with the frame on screen some tens."""

_FORMAT, _VERSION = "lsn-stream-state", "4"
_EXTRA = "extra."
_EXTRA_TYPES = ("float64", "float32", "int64", "uint8")


def save_state(
    path: str | Path,
    state: Mapping[str, np.ndarray],
    *,
    runtime: Runtime,
    extra: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes the state of a stream as a safetensors file with a checksum, which appears whole or not at all.

    Args:
        path: the file, usually ending in .safetensors.
        state: as the runtime's states give it.
        runtime: whose state it is; only one with the same weights can continue it.
        extra: arrays to keep with it, by name.

    Raises:
        WeightsError: it is larger than `load_state` reads.
    """
    arrays = {**state, **{f"{_EXTRA}{name}": np.asarray(array) for name, array in (extra or {}).items()}}
    if (num_bytes := sum(array.nbytes for array in arrays.values())) > MAX_STATE_BYTES // 2:
        raise WeightsError(f"{path}: a state of {num_bytes:,} bytes is too large for a file")
    about = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "model": runtime.network.name,
        "weights": runtime.fingerprint,
        "height": str(runtime.height),
        "width": str(runtime.width),
    }
    write_tensors(path, arrays, about)


def load_state(path: str | Path, *, runtime: Runtime) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads the state of a stream for a runtime, and the arrays that were kept with it.

    Raises:
        WeightsError: there is no such file, it is no state, damaged, or one of other weights or frames.
    """
    path = Path(path)
    with open_tensors(path, "the state of a stream", max_bytes=MAX_STATE_BYTES, framework="np") as file:
        _check_format(file)
        arrays = file.read()
    about = file.about
    if about.get("weights") != runtime.fingerprint:
        raise WeightsError(
            f"{path}: the state of a stream of {about.get('model')} with other weights; use the weights "
            "that it was saved with, or start the stream without a state"
        )
    height, width = (about.get(side, "") for side in ("height", "width"))
    if (height, width) != (str(runtime.height), str(runtime.width)):
        raise WeightsError(
            f"{path}: the state of a stream of frames of {shown(width)} x {shown(height)} pixels; here they have "
            f"{runtime.width}x{runtime.height}: use the settings that it was saved with, or start without a state"
        )
    state = {name: array for name, array in arrays.items() if not name.startswith(_EXTRA)}
    _check_fits(path, state, runtime.state_kinds)
    extra = {name.removeprefix(_EXTRA): array for name, array in arrays.items() if name.startswith(_EXTRA)}
    if odd := [name for name, array in extra.items() if str(array.dtype) not in _EXTRA_TYPES]:
        raise _damaged(path, f"{odd[0]} is {TensorKind.of(extra[odd[0]])}")
    return state, extra


def _check_format(file: TensorFile) -> None:
    about = file.about
    if about.get("format") != _FORMAT or about.get("format_version") != _VERSION:
        raise WeightsError(f"{file.path}: not the state of a stream that this LSN reads (weights, or another version)")
    if not file.has_checksum:
        raise _damaged(file.path, "no checksum")


def _check_fits(path: Path, state: Mapping[str, np.ndarray], expected: Mapping[str, TensorKind]) -> None:
    """Makes sure that a file holds what the state of a stream consists of."""
    kinds = {name: TensorKind.of(array) for name, array in state.items()}
    odd = misfits(kinds, expected)
    odd += [f"{name} is {kinds[name]}" for name, kind in expected.items() if not odd and kinds[name] != kind]
    if odd or state["num_frames"].min() < 0:
        raise _damaged(path, ", ".join(odd[:3]) or "a number of frames under 0")


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path}: a damaged state of a stream ({what}); use another state, or start the stream without one"
    )
