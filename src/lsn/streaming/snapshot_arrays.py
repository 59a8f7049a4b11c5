"""Arrays that a snapshot keeps beside the state of the network, checked when they are taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsn.errors import WeightsError


def kept_array(arrays: Mapping[str, np.ndarray], name: str, *, dtype: Any, shape: Sequence[int | None]) -> np.ndarray:
    """One of the arrays that were kept with a state.

    Args:
        arrays: as the snapshot gives them.
        name: of the array.
        dtype: type that it must have.
        shape: shape that it must have; None is any size.

    Raises:
        WeightsError: it is missing, or of another type or shape.
    """
    array = arrays.get(name)
    if array is None:
        raise WeightsError(f"a damaged state of a stream (no {name})")
    fits = array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
    if array.dtype != dtype or not fits:
        raise WeightsError(f"a damaged state of a stream ({name} is {array.dtype} of shape {list(array.shape)})")
    return array


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Those whose name begins with the prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
