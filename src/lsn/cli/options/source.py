"""How the sources of `lsn stream` are opened and read, for all of them or one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lsn.config import from_mapping
from lsn.errors import ConfigError, shown
from lsn.parsing import parse_yaml

if TYPE_CHECKING:
    from lsn.video.live.options import SourceOptions

_FFMPEG = "ffmpeg."
_HELP = "expected KEY=VALUE or STREAM.KEY=VALUE, as in num_threads=2, door.transport=udp or ffmpeg.video_size=640x480"


@dataclass(frozen=True)
class SourceFlags:
    """How sources are opened and read."""

    policy: Literal["block", "drop_oldest", "drop_newest"] | None = None
    """What becomes of frames that come too fast: block lets the source wait, drop_oldest and drop_newest lose some,
    counted. By default cameras and addresses drop the oldest, and files wait."""
    reconnect: float | None = None
    """Seconds to try to reach a live source again that was lost; by default for ever."""
    timeout: float = 10.0
    """Seconds without a packet after which a camera or an address counts as lost."""
    transport: Literal["tcp", "udp", "udp_multicast", "http"] | None = None
    """What carries RTSP streams; by default tcp, or udp if the server refuses it."""
    source_option: tuple[str, ...] = ()
    """Any option of a source, as KEY=VALUE for all or STREAM.KEY=VALUE for one: fps, policy, timeout_seconds,
    reconnect_seconds, transport, num_threads, or ffmpeg.OPTION, as in door.ffmpeg.video_size=640x480."""

    def options_of(self, names: Sequence[str], *, fps: float | None) -> dict[str, SourceOptions]:
        """The options of each stream, by name."""
        from lsn.video.live.options import SourceOptions

        common = SourceOptions(
            fps=fps,
            policy=self.policy,
            timeout_seconds=self.timeout,
            reconnect_seconds=self.reconnect,
            transport=self.transport,
        )
        return source_options(names, common, self.source_option)


def source_options(names: Sequence[str], common: SourceOptions, given: Iterable[str]) -> dict[str, SourceOptions]:
    """The options of each source.

    Args:
        names: of the streams.
        common: options of all sources.
        given: changes, as text: KEY=VALUE for all sources and NAME.KEY=VALUE for one, where KEY is a field of
            `SourceOptions`, or ffmpeg. and an option of FFmpeg.

    Raises:
        ConfigError: a text is no change, or its value does not fit.
    """
    options = dict.fromkeys(names, common)
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--source-option {shown(text)}: {_HELP}")
        name, key = _split(key, names)
        for changed in names if name is None else [name]:
            options[changed] = _with(options[changed], key, value, where=f"--source-option {shown(text)}")
    return options


def _split(key: str, names: Sequence[str]) -> tuple[str | None, str]:
    """The stream that a key begins with, if it does, and the rest; names may have dots."""
    for name in sorted(names, key=len, reverse=True):
        if key.startswith(f"{name}."):
            return name, key.removeprefix(f"{name}.")
    return None, key


def _with(options: SourceOptions, key: str, text: str, *, where: str) -> SourceOptions:
    from lsn.video.live.options import SourceOptions

    if key.startswith(_FFMPEG):
        more = {key.removeprefix(_FFMPEG): text}
        return dataclasses.replace(options, ffmpeg_options={**options.ffmpeg_options, **more})
    if key == "ffmpeg_options":
        raise ConfigError(f"{where}: give each option of FFmpeg by itself; {_HELP}")
    try:
        value: Any = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{where}: the value is not YAML: {error}") from None
    changed = getattr(from_mapping(SourceOptions, {key: value}, where=where), key)
    return dataclasses.replace(options, **{key: changed})
