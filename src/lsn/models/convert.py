"""Starting points that others published: torchvision's ResNets and the checkpoints of TSN's and TSM's code.

Their names of the CNN's tensors are those of timm behind a prefix or two, so that converting is renaming.
Nothing is unpickled but tensors and plain data.

Source: github.com/mit-han-lab/temporal-shift-module for the names.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from lsn.errors import WeightsError, shown
from lsn.files import is_file
from lsn.models.factory import create_model
from lsn.models.recognizer import Recognizer
from lsn.models.shift import residual_convs
from lsn.tensor_file import open_tensors

_NAMED = 5  # tensors that an error names
_CONTAINERS = ("state_dict", "model", "model_state")
"""Keys that checkpoints keep their tensors under."""
_LARGEST_PICKLE = 64 << 20  # the pickle in a zip archive only describes the tensors
_LEGACY_PICKLES = 5  # with which files begin that are no zip archives
_GROWING = frozenset({"builtins bytearray", "__builtin__ bytearray", "_codecs encode"})
"""What torch's safe unpickler would call, and what makes any amount of memory from a few bytes."""
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
        if target in state and _can_hold(state[target], tensor):
            state[target] = tensor
            used[target] = key
    # Counts of batches are not of use, and old checkpoints have none.
    wanted = [key for key in state if key.startswith("cnn.") and not key.endswith("num_batches_tracked")]
    lacking = [key for key in wanted if key not in used and key not in classifier]
    if lacking:
        raise WeightsError(
            f"{path}: does not fill the CNN of {name}: {len(lacking)} of its {len(wanted)} tensors are missing or of "
            f"another shape ({', '.join(lacking[:_NAMED])}); the file has {shown(list(tensors)[:_NAMED], most=200)}"
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
    if not is_file(path):
        raise WeightsError(f"{path}: no such checkpoint file; relative paths start from {Path.cwd()}")
    if path.suffix == ".safetensors":
        with open_tensors(path, "a checkpoint") as file:
            return file.mapped()
    _check_is_checkpoint(path)
    try:
        if growing := _GROWING & set(_called(path)):
            raise pickle.UnpicklingError(f"Unsupported {', '.join(growing)}")
        is_zip = zipfile.is_zipfile(path)  # of which nothing is read before it is used
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
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
    tensors = {key: value for key, value in items if isinstance(key, str) and _is_plain(value)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors by name; expected a state_dict, alone or under 'state_dict'")
    return tensors


def _called(path: Path) -> Iterator[str]:
    """Module and name of all that the pickles of a checkpoint refer to; raises what damaged ones raise."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(_LEGACY_PICKLES):
                yield from _globals(file)
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise zipfile.BadZipFile("entries that are compressed or lie over each other, which torch.save writes none")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                if entry.file_size > _LARGEST_PICKLE:
                    raise zipfile.BadZipFile(f"a pickle of {entry.file_size} bytes")
                yield from _globals(io.BytesIO(archive.read(entry)))


def _globals(stream: IO[bytes]) -> Iterator[str]:
    return (str(argument) for opcode, argument, _ in pickletools.genops(stream) if opcode.name == "GLOBAL")


def _is_plain(value: Any) -> bool:
    """Whether this is a tensor with all its numbers in memory: not sparse, nested, quantised or without numbers."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and not value.is_nested
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _can_hold(own: Tensor, tensor: Tensor) -> bool:
    return (
        own.shape == tensor.shape and own.is_floating_point() == tensor.is_floating_point() and not tensor.is_complex()
    )


def _check_is_checkpoint(path: Path) -> None:
    """Distinguishes what was downloaded in the place of a checkpoint from one that is broken or dangerous."""
    with path.open("rb") as file:
        start = file.read(512)
    # A zip archive, a pickle of old, or a tar archive of older still.
    if not (start.startswith((b"PK", b"\x80")) or start[257:262] == b"ustar"):
        begin = start[:40].decode("ascii", errors="replace")
        raise WeightsError(f"{path}: not what torch.save writes (it begins with {begin!r}); fetch the file again")


def _renamed(key: str) -> str:
    for pattern, replacement in _RENAMED:
        key = pattern.sub(replacement, key)
    return key
