"""The JSON files that describe weights and exports: how they are read before anything in them is believed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import lsn
from lsn.config.loading import from_mapping
from lsn.errors import LSNError, WeightsError, shown
from lsn.files import read_bytes

CONFIG_NAME, TENSORS_NAME = "config.json", "model.safetensors"
"""The files of a weights folder."""
RECIPE_NAME = "recipe.yaml"
"""What they were trained with, beside them."""
STARTER_PREFIX = "starter:"
"""Before the name of starter weights, where a weights folder is expected."""
EVALUATION_NAME = "evaluation.json"
"""Their validation, beside them."""
MAX_BYTES = 8 << 20
"""The description of a network of 1000 classes has 0.1 MB."""
MAX_DIGITS = 18
"""Of whole numbers; Python takes its time with thousands."""

Content = TypeVar("Content")


@dataclasses.dataclass(frozen=True)
class JsonFormat:
    """A kind of file."""

    name: str
    """What the file says that it is, in its key `format`."""
    version: int
    what: str
    """For errors, as in "the description of LSN weights"."""
    if_damaged: str
    """What to do about a damaged file."""
    if_of_another_version: str
    """What to do about one of another version, if nobody has the LSN that wrote it."""

    def header(self) -> dict[str, Any]:
        """What such a file begins with."""
        return {"format": self.name, "format_version": self.version, "lsn_version": lsn.__version__}

    def read(self, path: Path) -> dict[str, Any]:
        """The content of a file, as plain data.

        Raises:
            WeightsError: it cannot be read, or is no such file, or of another version.
        """
        content = read_bytes(path, self.what, error=WeightsError, max_bytes=MAX_BYTES)
        try:
            fields = json.loads(content.decode("utf-8"), parse_int=_whole_number)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{path}: not readable JSON ({error}); {self.if_damaged}") from None
        if not isinstance(fields, dict) or fields.get("format") != self.name:
            raise WeightsError(f"{path}: not {self.what} (its format is not {self.name!r})")
        if fields.get("format_version") != self.version:
            raise WeightsError(
                f"{path}: format version {shown(fields.get('format_version'))}, written by LSN "
                f"{shown(fields.get('lsn_version'))}; this LSN ({lsn.__version__}) reads version {self.version}: use "
                f"the LSN that wrote it, or {self.if_of_another_version}"
            )
        return fields


def checked(kind: type[Content], fields: dict[str, Any], path: Path) -> Content:
    """The content as a dataclass; keys that it does not have are those of a later LSN, which it could do without.

    Raises:
        WeightsError: a value is missing or wrong.
    """
    known = {
        entry.name: fields[entry.name]
        for entry in dataclasses.fields(kind)  # type: ignore[arg-type]
        if entry.name in fields
    }
    try:
        return from_mapping(kind, known, where=str(path))
    except LSNError as error:
        raise WeightsError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


WEIGHTS_FORMAT = JsonFormat(
    "lsn-weights", 1, "the description of LSN weights", "copy the whole folder again", "train again"
)
