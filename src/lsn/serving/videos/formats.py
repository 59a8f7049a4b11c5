"""The events of a video as a file of an annotation tool."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lsn.config.timelines import Format
from lsn.data.timelines.reading import write_timelines
from lsn.errors import LSNError
from lsn.serving.videos.analysis import TimelineAnalysis

_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".jsonl": "application/jsonl",
    ".json": "application/json",
    ".eaf": "application/xml",
    ".vtt": "text/vtt",
    ".zip": "application/zip",
}


@dataclass(frozen=True)
class EventsFile:
    """A file to download."""

    name: str
    content: bytes

    @property
    def media_type(self) -> str:
        """Of HTTP, for its format."""
        return _MEDIA_TYPES.get(Path(self.name).suffix, "text/plain")


def events_file(analysis: TimelineAnalysis, format: Format, background: str | None) -> EventsFile | str:
    """Writes events in a format; formats that are folders become a ZIP file.

    Args:
        analysis: of a video whose file is there.
        format: one of `lsn.config.timelines.Format`.
        background: label of the background, for a format that labels every frame.

    Returns:
        The file, in which the video is called by its name alone; or why the format cannot hold the events.
    """
    path, events = analysis.video, analysis.as_annotated(as_points=format == "e2e-spot")
    with tempfile.TemporaryDirectory(prefix="lsn-") as folder:
        out = Path(folder, f"{path.stem}.{format if format in ('csv', 'jsonl') else 'json'}")
        try:
            write_timelines(out, events, format=format, background=background or "background")
        except LSNError as error:
            return str(error).replace(str(out), format).replace(str(path), path.name)
        files = sorted(each for each in out.rglob("*") if each.is_file()) if out.is_dir() else [out]
        contents = [_without_folder(each.read_bytes(), path.parent) for each in files]
        if len(files) == 1 and format not in ("frame-labels", "thumos"):
            return EventsFile(files[0].name, contents[0])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, content in zip(files, contents, strict=True):
                archive.writestr(str(each.relative_to(out)), content)
    return EventsFile(f"{path.stem}.zip", packed.getvalue())


def _without_folder(content: bytes, folder: Path) -> bytes:
    """Calls videos by their names, as they lie on the client's disk beside the file, not in the server's folder."""
    for prefix in (f"file://{folder}/", f"{folder}/", f"{str(folder).lstrip('/')}/"):
        content = content.replace(prefix.encode(), b"")
    return content
