"""Safetensors files, described before they are read: names, types and shapes first, the numbers only if they fit.

A file that LSN wrote carries a checksum of its content in its own header, so that it needs no second file to prove
itself. Files of others, and of earlier versions, have none.

Tensors are PyTorch's or arrays of NumPy; for the latter PyTorch is not needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from lsn.errors import WeightsError, shown
from lsn.files import atomic_path, is_file

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 16 << 20
"""The header of a network of a thousand tensors has 0.1 MB."""

_CHECKSUM = "lsn_sha256"
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""PyTorch's and NumPy's names of types by that of the format; a network has no others."""


@dataclass(frozen=True)
class TensorKind:
    """What a file promises of a tensor."""

    dtype: str | None
    """Such as "float32"; None for types that no network has."""
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor | np.ndarray) -> TensorKind:
        """The kind of a tensor."""
        return cls(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape)) or 'one'} {self.dtype}"


@dataclass(frozen=True, eq=False)
class TensorFile:
    """An open file."""

    path: Path
    about: Mapping[str, str]
    """What was written beside the tensors."""
    kinds: Mapping[str, TensorKind]
    """Kind of each tensor by name."""
    has_checksum: bool
    _file: Any

    def mapped(self, names: Collection[str] | None = None) -> dict[str, Any]:
        """Tensors that are read from the disk as they are used, all by default; for files that outlive them."""
        return {name: self._file.get_tensor(name) for name in (self.kinds if names is None else names)}

    def read(self) -> dict[str, Any]:
        """All tensors, in memory of their own.

        Raises:
            WeightsError: they are not those that the file was written with.
        """
        tensors = {name: _copied(tensor) for name, tensor in self.mapped().items()}
        if self.has_checksum and _checksum(tensors, self.about) != self._file.metadata()[_CHECKSUM]:
            raise WeightsError(
                f"{self.path}: its content is not what was written (the checksum differs): damaged on the disk or on "
                "the way; copy it again from where it came from"
            )
        return tensors


@contextmanager
def open_tensors(
    path: str | Path, what: str, *, max_bytes: int | None = None, framework: Literal["pt", "np"] = "pt"
) -> Iterator[TensorFile]:
    """Opens a safetensors file; nothing but its header is read.

    Args:
        path: the file.
        what: what the file is for, in errors ("weights", "the state of a stream").
        max_bytes: the most that a file of this kind can have; None for no limit.
        framework: whose tensors are read, PyTorch's or NumPy's, which has no bfloat16.

    Raises:
        WeightsError: it is missing, not a regular file, cut off, larger, or no safetensors file.
    """
    path = Path(path)
    _check_file(path, what, max_bytes)
    try:
        with safe_open(path, framework=framework) as file:
            about = dict(file.metadata() or {})
            has_checksum = about.pop(_CHECKSUM, None) is not None
            yield TensorFile(path, about, _kinds(file), has_checksum, file)
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: not {what}: {reason}; copy or fetch the file again") from error


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor] | Mapping[str, np.ndarray], about: Mapping[str, str] | None = None
) -> None:
    """Writes a file with its checksum, which appears whole or not at all.

    Args:
        path: the file.
        tensors: by name; no two may share memory.
        about: what is kept beside them.
    """
    metadata = {**(about or {}), _CHECKSUM: _checksum(tensors, about or {})}
    with atomic_path(path) as partial:
        partial.write_bytes(_encoded(tensors, metadata))


def misfits(kinds: Mapping[str, TensorKind], expected: Mapping[str, TensorKind]) -> list[str]:
    """What keeps the tensors of a file from being those of a network, tensor by tensor; empty if they fit.

    Types of floating-point numbers may differ, since they are converted; and counts of batches may be missing, which
    old files do not have and nothing needs.
    """
    odd = [f"no {name}" for name in expected if name not in kinds and not name.endswith("num_batches_tracked")]
    odd += [f"unknown {shown(name)}" for name in kinds if name not in expected]
    return odd + [
        f"{name} is {kinds[name]}, expected {kind}"
        for name, kind in expected.items()
        if name in kinds and not _fits(kinds[name], kind)
    ]


def bytes_of(tensor: Tensor | np.ndarray) -> memoryview:
    """The numbers of a tensor in the order of its dimensions, uint8."""
    if 0 in tensor.shape:  # some have strides that cannot be viewed as bytes
        return memoryview(b"")
    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _encoded(tensors: Mapping[str, Any], metadata: dict[str, str]) -> bytes:
    """The content of a file; what writes files itself would let nobody else read them."""
    if all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
        from safetensors.numpy import save

        return save({name: np.ascontiguousarray(t) if t.ndim else t for name, t in tensors.items()}, metadata)
    from safetensors import torch as safetensors_torch

    return safetensors_torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata)


def _copied(tensor: Any) -> Any:
    return tensor.copy() if isinstance(tensor, np.ndarray) else tensor.clone()


def _fits(kind: TensorKind, expected: TensorKind) -> bool:
    both = kind.dtype, expected.dtype
    floats = all(dtype is not None and "float" in dtype for dtype in both)
    return kind.shape == expected.shape and (floats or both[0] == both[1])


def _check_file(path: Path, what: str, max_bytes: int | None) -> None:
    if not is_file(path):
        raise WeightsError(f"{path}: no such file; expected {what} as .safetensors")
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            header_bytes, start = int.from_bytes(file.read(8), "little"), file.read(1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None
    if max_bytes is not None and num_bytes > max_bytes:
        raise WeightsError(f"{path}: {num_bytes:,} bytes, but {what} has at most {max_bytes:,}; is it the right file?")
    if start != b"{" or header_bytes > min(MAX_HEADER_BYTES, num_bytes):
        raise WeightsError(f"{path}: not {what}: no safetensors file, or cut off; copy or fetch the file again")


def _kinds(file: Any) -> dict[str, TensorKind]:
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    return {name: TensorKind(_DTYPES.get(part.get_dtype()), tuple(part.get_shape())) for name, part in slices.items()}


def _checksum(tensors: Mapping[str, Any], about: Mapping[str, str]) -> str:
    ordered = sorted(tensors.items())
    kinds = [(name, f"torch.{TensorKind.of(tensor).dtype}", tuple(tensor.shape)) for name, tensor in ordered]
    digest = hashlib.sha256(json.dumps([sorted(about.items()), kinds]).encode())
    for _, tensor in ordered:
        digest.update(bytes_of(tensor))
    return digest.hexdigest()
