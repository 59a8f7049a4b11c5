"""Which sources a server may read itself, and how they are opened: nothing leads elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from lsn.errors import ConfigError
from lsn.video.decoding.limits import CONTAINERS
from lsn.video.live.ffmpeg_input import is_camera, redacted
from lsn.video.live.opening import open_live
from lsn.video.live.options import SourceOptions
from lsn.video.live.source import LiveSource

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""Schemes that a server reads, with the ports that they have if none is given."""
_PROTOCOLS = {"rtsp": "rtsp,rtp,tcp,udp", "rtsps": "rtsp,rtp,tcp,udp,tls", "http": "http,tcp", "https": "https,tls,tcp"}
# Stricter than addresses may be, so that nobody reads another host out of it than FFmpeg does.
_ADDRESS = re.compile(
    r"(?P<scheme>[a-z]+)://(?:[\w.~!$&'()*+,;=:%-]*@)?(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?][!-\[\]-~]*)?",
    re.ASCII,
)
_REDIRECTS_SINCE = 62
"""The libavformat from which on redirects can be forbidden."""


@dataclass(frozen=True)
class Place:
    """Where an address leads."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, address: str) -> Place | None:
        """Of an address; None if it is none that a server reads."""
        found = _ADDRESS.fullmatch(address)
        if found is None or found["scheme"] not in DEFAULT_PORTS:
            return None
        port = int(found["port"] or DEFAULT_PORTS[found["scheme"]])
        return cls(found["scheme"], found["host"].lower(), port)


@dataclass(frozen=True)
class AllowedSources:
    """What clients may have the server read.

    Args:
        entries: addresses of hosts (rtsp://camera.lan, http://10.0.0.5:8080), folders and files, cameras (/dev/video0).

    Raises:
        ConfigError: an entry is none of these.
    """

    entries: Sequence[str] = ()

    def __post_init__(self) -> None:
        for entry in self.entries:
            if "://" in entry and Place.of(entry) is None:
                schemes = ", ".join(DEFAULT_PORTS)
                raise ConfigError(f"--allow-sources {redacted(entry)}: expected SCHEME://HOST[:PORT] with {schemes}")
            if "://" not in entry and not entry.startswith("/dev/") and not Path(entry).exists():
                raise ConfigError(f"--allow-sources {entry}: no such file or folder, and no address or camera")

    def allow(self, source: str) -> bool:
        """Whether clients may have it read."""
        if "://" in source:
            place = Place.of(source)
            return place is not None and place in map(Place.of, self.entries)
        paths = [entry for entry in self.entries if "://" not in entry]
        if source.startswith("/dev/"):
            return source in paths
        try:
            path = Path(source).resolve(strict=True)
            return path.is_file() and any(path.is_relative_to(Path(entry).resolve()) for entry in paths)
        except (OSError, ValueError, RuntimeError):  # a name that is none, or links in a circle
            return False


def open_source(source: str) -> LiveSource:
    """Opens a source that is allowed; playlists and redirects are not followed.

    Raises:
        VideoError: it cannot be opened.
        ConfigError: it is an address that cannot be opened safely here.
    """
    if "://" not in source:
        return open_live(source if is_camera(source) else Path(source))
    place = Place.of(source)
    if place is None:
        raise ConfigError(f"{redacted(source)}: not an address that a server reads")
    if av.library_versions["libavformat"][0] < _REDIRECTS_SINCE:
        raise ConfigError("this FFmpeg follows redirects wherever they lead; install a newer av")
    formats = "rtsp,sdp" if place.scheme.startswith("rtsp") else CONTAINERS
    limits = {"protocol_whitelist": _PROTOCOLS[place.scheme], "format_whitelist": formats, "max_redirects": "0"}
    return open_live(source, SourceOptions(ffmpeg_options=limits))
