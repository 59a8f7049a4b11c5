"""Starting points that others published: torchvision's ResNets and the checkpoints of TSN's and TSM's code.

Their names of the CNN's tensors are those of timm behind a prefix or two, so that converting is renaming.
Nothing is unpickled but tensors and plain data.

Source: github.com/mit-han-lab/temporal-shift-module for the names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from lsn.errors import WeightsError
from lsn.models.factory import create_model
from lsn.models.recognizer import Recognizer
from lsn.models.shift import residual_convs

_NAMED = 5  # tensors that an error names
_CONTAINERS = ("state_dict", "model", "model_state")
"""Keys that checkpoints keep their tensors under."""
_SHIFTED = re.compile(r"\.net\.")
"""TSM's shift wraps what comes after it."""
_RENAMED = (
    (re.compile(r"^module\."), ""),  # of DataParallel
    (re.compile(r"^base_model\."), ""),  # of TSN and TSM
    (re.compile(r"^new_fc\."), "fc."),
    (_SHIFTED, "."),
)


@dataclass(frozen=True)
class Conversion:
    """A model that starts from a checkpoint, and what became of every tensor."""

    model: Recognizer
    used: tuple[str, ...]
    """Tensors of the checkpoint that the model holds now."""
    unused: tuple[str, ...]
    """Tensors of the checkpoint that have no place in the model."""
    fresh: tuple[str, ...]
    """Tensors of the model that the checkpoint does not have: its memory, or a classifier of other classes."""
    same_shift: bool
    """Whether the model shifts where the checkpoint did; if not, its scores are not those of the original."""


def convert_checkpoint(
    path: str | Path, *, name: str, num_classes: int, num_frames: int = 16, **overrides: Any
) -> Conversion:
    """Builds a model and starts its CNN from a checkpoint; its classifier, too, if it has as many classes.

    A `tsm_*` model from a checkpoint of TSM's code gives the logits that the original gives, where both shift the same
    convolutions: so in ResNet-18 to -50 with TSM's usual `shift_place=blockres`.

    Args:
        path: `.safetensors`, or what `torch.save` wrote (`.pth`, `.pt`, `.pth.tar`).
        name: of the model, such as `tsm_resnet50` or `lsn_ss_resnet50`.
        num_classes: classes of the model.
        num_frames: frames of the clips; kept with the weights.
        overrides: as in `create_model`.

    Raises:
        WeightsError: the file cannot be read, holds code or no tensors, or does not fill the CNN.
        ModelError: an unknown model or option.
    """
    tensors = read_checkpoint(path)
    model = create_model(name, num_classes=num_classes, num_frames=num_frames, **overrides)
    state = model.state_dict()
    classifier = {key for key in state if model.get_submodule(key.rpartition(".")[0]) is model.get_classifier()}
    used: dict[str, str] = {}
    for key, tensor in tensors.items():
        target = f"cnn.{_renamed(key)}"
        if target in used:
            raise WeightsError(f"{path}: {used[target]} and {key} are both {target}; keep one of them")
        if target in state and state[target].shape == tensor.shape:
            state[target] = tensor
            used[target] = key
    # Counts of batches are not of use, and old checkpoints have none.
    wanted = [key for key in state if key.startswith("cnn.") and not key.endswith("num_batches_tracked")]
    lacking = [key for key in wanted if key not in used and key not in classifier]
    if lacking:
        raise WeightsError(
            f"{path}: does not fill the CNN of {name}: {len(lacking)} of its {len(wanted)} tensors are missing or of "
            f"another shape ({', '.join(lacking[:_NAMED])}); the file has {', '.join(list(tensors)[:_NAMED])}, ..."
        )
    model.load_state_dict(state)
    model.mark_trained(used)
    shifted = {_renamed(key[: match.start()]) for key in tensors if (match := _SHIFTED.search(key))}
    taken = set(used.values())
    return Conversion(
        model.eval(),
        used=tuple(used.values()),
        unused=tuple(key for key in tensors if key not in taken),
        fresh=tuple(key for key in state if key not in used and not key.endswith("num_batches_tracked")),
        same_shift=shifted == (set(residual_convs(model.cnn)) if model.shift == "bidirectional" else set()),
    )


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without running code that it may hold.

    Raises:
        WeightsError: the file is missing, broken, holds something else than tensors and plain data, or no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such checkpoint file; relative paths start from {Path.cwd()}")
    if path.suffix != ".safetensors":
        _check_is_checkpoint(path)
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles fail in every way
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise WeightsError(
                f"{path}: holds more than tensors and plain data, which could run code, and is not read; load it where "
                "it was made and save its state_dict() alone"
            ) from error
        raise WeightsError(f"{path}: not a readable checkpoint; expected .safetensors or torch.save's file") from error
    container = next((key for key in _CONTAINERS if isinstance(loaded, Mapping) and key in loaded), None)
    inner = loaded if container is None else loaded[container]
    items = inner.items() if isinstance(inner, Mapping) else ()
    tensors = {key: value for key, value in items if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors by name; expected a state_dict, alone or under 'state_dict'")
    return tensors


def _check_is_checkpoint(path: Path) -> None:
    """Tells what was downloaded in the place of a checkpoint from one that is broken or dangerous."""
    with path.open("rb") as file:
        start = file.read(512)
    # A zip archive, a pickle of old, or a tar archive of older still.
    if not (start.startswith((b"PK", b"\x80")) or start[257:262] == b"ustar"):
        shown = start[:40].decode("ascii", errors="replace")
        raise WeightsError(f"{path}: not what torch.save writes (it begins with {shown!r}); fetch the file again")


def _renamed(key: str) -> str:
    for pattern, replacement in _RENAMED:
        key = pattern.sub(replacement, key)
    return key
