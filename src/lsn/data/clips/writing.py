"""Manifests as files that `read_manifest` reads back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsn.data.clips.formats import OPTIONAL_COLUMNS
from lsn.data.clips.table import Manifest
from lsn.errors import DataError
from lsn.files import write_csv, write_text
from lsn.parsing import to_json

GROUP_COLUMN = "group"


def write_manifest(path: str | Path, manifest: Manifest, *, paths: Sequence[str] | None = None) -> None:
    """Writes clips as CSV, with their groups in the column `group`; the order of labels is not in it.

    Args:
        path: the file.
        manifest: the clips.
        paths: where each of them is, from the folder of the file; by default, absolute paths.
    """
    paths = [clip.file for clip in manifest.clips] if paths is None else paths
    used = [name for name in OPTIONAL_COLUMNS if any(getattr(clip, name) is not None for clip in manifest.clips)]
    rows = (
        [file, clip.label, *(getattr(clip, name) for name in used), clip.group]
        for file, clip in zip(paths, manifest.clips, strict=True)
    )
    write_csv(path, [("path", "label", *used, GROUP_COLUMN), *rows])


def names_of_copies(manifests: Sequence[Manifest], out: Path) -> list[str]:
    """What manifests are called in a folder that is written from them: `train.csv` for a folder `train`, too.

    Raises:
        DataError: two of them would have one name.
    """
    names = [f"{Path(manifest.source).stem}.csv" for manifest in manifests]
    if len(set(names)) < len(names):
        raise DataError(f"manifests of the same name would be written to {out}: {', '.join(names)}; rename one")
    return names


def write_labels(path: str | Path, manifest: Manifest) -> None:
    """Writes the labels of a manifest in their order, as a JSON list."""
    write_text(path, to_json(manifest.labels) + "\n")
