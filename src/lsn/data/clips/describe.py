"""A manifest in numbers, for `lsn data show`."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lsn.data.clips.probe import Probe
from lsn.data.clips.table import Manifest


@dataclass(frozen=True)
class Spread:
    """Least, middle and greatest of a quantity over the clips."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class OpenedClips:
    """What the clips that could be opened hold."""

    num_frames: Spread
    duration_seconds: Spread
    fps: Spread
    clips_of_size: dict[str, int]
    """Number of clips by `width x height` as shown, the most frequent first."""
    clips_of_codec: dict[str, int]
    """Number of clips by codec, the most frequent first."""


@dataclass(frozen=True)
class Description:
    """A manifest in numbers."""

    num_clips: int
    clips_of_class: dict[str, int]
    """Number of clips by label, in label order; classes without clips are there with 0."""
    num_groups: int
    opened: OpenedClips | None
    """None if no clip was opened."""
    unreadable: tuple[tuple[str, str], ...]
    """Place in the manifest and error of the clips that could not be read."""


def describe(manifest: Manifest, probes: Sequence[Probe] = ()) -> Description:
    """Counts the clips of a manifest and, given what `probe` found, their durations, sizes and frame rates."""
    in_class = Counter(clip.label for clip in manifest.clips)
    return Description(
        num_clips=len(manifest),
        clips_of_class={label: in_class[label] for label in manifest.labels},
        num_groups=len({clip.group for clip in manifest.clips} - {""}),
        opened=_opened(probes),
        unreadable=tuple((manifest.where(found.clip), found.error) for found in probes if found.error),
    )


def thinned(manifest: Manifest, most: int) -> Manifest:
    """At most so many of its clips, spread over the manifest."""
    return replace(manifest, clips=manifest.clips[:: max(1, -(-len(manifest) // most))])


def _opened(probes: Sequence[Probe]) -> OpenedClips | None:
    infos = [found.info for found in probes if found.info]
    if not infos:
        return None
    return OpenedClips(
        num_frames=spread([info.num_frames for info in infos]),
        duration_seconds=spread([info.duration_seconds for info in infos]),
        fps=spread([info.average_fps for info in infos]),
        clips_of_size=dict(Counter(f"{info.width}x{info.height}" for info in infos).most_common()),
        clips_of_codec=dict(Counter(info.codec for info in infos).most_common()),
    )


def spread(values: Sequence[float]) -> Spread:
    """Least, middle and greatest of some values."""
    return Spread(min(values), statistics.median(values), max(values))
