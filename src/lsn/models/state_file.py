"""Stream states on disk: what one process leaves, another goes on with, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lsn.errors import WeightsError
from lsn.files import atomic_path
from lsn.models.recognizer import Recognizer
from lsn.models.state import StreamState

_FORMAT, _VERSION = "lsn-stream-state", "2"
_EXTRA = "extra."


def save_state(
    path: str | Path, state: StreamState, *, model: Recognizer, extra: Mapping[str, Tensor] | None = None
) -> None:
    """Writes a state as a safetensors file, which appears whole or not at all.

    Args:
        path: the file, usually ending in .safetensors.
        state: of any number of streams.
        model: whose state it is; only the same weights can go on with it.
        extra: other tensors to keep with it, by name.
    """
    tensors = state.tensors() | {f"{_EXTRA}{name}": tensor for name, tensor in (extra or {}).items()}
    about = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "model": model.name,
        "weights": weights_fingerprint(model),
        "height": str(state.height),
        "width": str(state.width),
    }
    with atomic_path(path) as partial:
        partial.write_bytes(save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, about))


def load_state(path: str | Path, *, model: Recognizer) -> tuple[StreamState, dict[str, Tensor]]:
    """Reads a state for a model, onto its device, and the other tensors that were kept with it.

    Raises:
        WeightsError: there is no such file, it is no state, or it is one of other weights.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; expected the state of a stream, as a stream's save writes it")
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not the state of a stream: {error}") from None
    if about.get("format") != _FORMAT or about.get("format_version") != _VERSION:
        raise WeightsError(f"{path}: not the state of a stream that this LSN reads (weights, or another version)")
    if about["weights"] != weights_fingerprint(model):
        raise WeightsError(
            f"{path}: the state of a stream of {about['model']} with other weights; go on with the weights that it "
            "was saved with, or start the stream anew"
        )
    empty = model.init_state(1, int(about["height"]), int(about["width"]))
    state = empty.with_tensors({name: tensors[name].to(t.device) for name, t in empty.tensors().items()})
    return state, {name.removeprefix(_EXTRA): t for name, t in tensors.items() if name.startswith(_EXTRA)}


def weights_fingerprint(model: Recognizer) -> str:
    """A hash of the model's name and of every weight."""
    digest = hashlib.sha256(model.name.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
