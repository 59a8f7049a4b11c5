"""Stream states on disk: where one process stops, another continues, bit for bit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lsn.errors import ModelError, WeightsError, shown
from lsn.models.recognizer import Recognizer
from lsn.models.state import StreamState
from lsn.models.tensor_file import TensorFile, TensorKind, bytes_of, misfits, open_tensors, write_tensors

MAX_STATE_BYTES = 1 << 30
"""The state of a stream has some megabytes, with the frame on screen some tens."""

_FORMAT, _VERSION = "lsn-stream-state", "4"
_EXTRA = "extra."
_EXTRA_TYPES = (torch.float64, torch.float32, torch.int64, torch.uint8)
_SIDE = re.compile(r"[1-9][0-9]{0,4}")


def save_state(
    path: str | Path,
    state: StreamState,
    *,
    model_name: str,
    fingerprint: str,
    extra: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a state as a safetensors file with a checksum, which appears whole or not at all.

    Args:
        path: the file, usually ending in .safetensors.
        state: of any number of streams.
        model_name: of the model whose state it is.
        fingerprint: of its weights, see `weights_fingerprint`; only the same weights can continue the state.
        extra: arrays to keep with it, by name.

    Raises:
        WeightsError: it is larger than `load_state` reads.
    """
    kept = {f"{_EXTRA}{name}": torch.tensor(array) for name, array in (extra or {}).items()}
    tensors = state.tensors() | kept
    if (num_bytes := sum(tensor.nbytes for tensor in tensors.values())) > MAX_STATE_BYTES // 2:
        raise WeightsError(f"{path}: a state of {num_bytes:,} bytes is too large for a file; save fewer streams in it")
    about = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "model": model_name,
        "weights": fingerprint,
        "height": str(state.height),
        "width": str(state.width),
    }
    write_tensors(path, tensors, about)


def load_state(path: str | Path, *, model: Recognizer, fingerprint: str) -> tuple[StreamState, dict[str, np.ndarray]]:
    """Reads a state for a model, onto its device, and the arrays that were kept with it.

    Args:
        path: as `save_state` wrote it.
        model: that is to continue it; may be fused.
        fingerprint: of its weights, as they were loaded.

    Raises:
        WeightsError: there is no such file, it is no state, damaged, or one of other weights.
    """
    path = Path(path)
    with open_tensors(path, "the state of a stream", max_bytes=MAX_STATE_BYTES) as file:
        _check_format(file)
        tensors = file.read()
    about = file.about
    if about.get("weights") != fingerprint:
        raise WeightsError(
            f"{path}: the state of a stream of {about.get('model')} with other weights; use the weights "
            "that it was saved with, or start the stream without a state"
        )
    sides = [about.get(side, "") for side in ("height", "width")]
    if not all(_SIDE.fullmatch(side) for side in sides):
        raise _damaged(path, f"frames of {shown(sides[1])} x {shown(sides[0])} pixels")
    height, width = map(int, sides)
    try:
        outline = model.outline_state(height, width)
    except ModelError as error:
        raise WeightsError(f"{path}: {error}") from error
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(_EXTRA)}
    _check_fits(path, state, outline)
    device = next(model.parameters()).device
    extra = {name.removeprefix(_EXTRA): tensor for name, tensor in tensors.items() if name.startswith(_EXTRA)}
    if odd := [name for name, tensor in extra.items() if tensor.dtype not in _EXTRA_TYPES]:
        raise _damaged(path, f"{odd[0]} is {TensorKind.of(extra[odd[0]])}")
    restored = StreamState.from_tensors(state, height=height, width=width).map(lambda tensor: tensor.to(device))
    return restored, {name: tensor.numpy() for name, tensor in extra.items()}


def weights_fingerprint(model: Recognizer) -> str:
    """A hash of the model's name and of every weight, computed once for each model that is loaded."""
    digest = hashlib.sha256(model.name.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def _check_format(file: TensorFile) -> None:
    about = file.about
    if about.get("format") != _FORMAT or about.get("format_version") != _VERSION:
        raise WeightsError(f"{file.path}: not the state of a stream that this LSN reads (weights, or another version)")
    if not file.has_checksum:
        raise _damaged(file.path, "no checksum")


def _check_fits(path: Path, tensors: Mapping[str, Tensor], outline: StreamState) -> None:
    """Makes sure that a file holds what a state for some number of streams consists of."""
    seen = tensors.get("num_frames", torch.zeros(0))
    num_streams = len(seen) if seen.ndim else 0
    expected = {name: TensorKind(t.dtype, (num_streams, *t.shape[1:])) for name, t in outline.tensors().items()}
    kinds = {name: TensorKind.of(tensor) for name, tensor in tensors.items()}
    odd = misfits(kinds, expected)
    odd += [f"{name} is {kinds[name]}" for name, kind in expected.items() if not odd and kinds[name] != kind]
    if odd or num_streams < 1 or seen.min() < 0:
        raise _damaged(path, ", ".join(odd[:3]) or "a number of frames under 0")


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path}: a damaged state of a stream ({what}); use another state, or start the stream without one"
    )
