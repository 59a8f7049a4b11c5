"""Opening cameras and network streams with FFmpeg, and saying in plain words why they cannot be opened or read."""

from __future__ import annotations

import errno
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import av
from av.container import InputContainer

from lsn.errors import ConfigError, VideoError
from lsn.video.decoding.container import reason_of

# Frames that are counted before the first is given, only to guess the rate: none, since timestamps give it.
_NETWORK_OPTIONS = {"fpsprobesize": "0"}
# UDP, which FFmpeg tries first by itself, loses packets where TCP waits.
_RTSP_OPTIONS = {"rtsp_flags": "prefer_tcp"}
# Names of parameters, and of their last part (access_token, X-Amz-Signature).
_SECRET_NAME = re.compile(r"pass|pwd|token|secret|auth|credential|signature|session|key$|^(loginpas|pw|sig|sid|jwt)$")
# What avfoundation asks for by itself (29.97) is refused by many cameras.
_MACOS_CAMERA_FPS = 30.0


@dataclass(frozen=True)
class Address:
    """A camera or a network stream."""

    url: str
    """What FFmpeg opens."""
    name: str
    """What messages call it: `redacted`."""
    options: Mapping[str, str]
    """For FFmpeg."""
    device_format: str | None = None
    """How FFmpeg calls the system's cameras; None for network streams."""


def is_url(source: str) -> bool:
    """Whether a text names a network stream rather than a file."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def is_camera(source: str) -> bool:
    """Whether a text names a camera: a number, or a video device of Linux."""
    return source.isdecimal() or source.startswith("/dev/video")


def url_address(url: str, *, transport: str | None = None) -> Address:
    """The address of a network stream.

    Args:
        url: Of any protocol that FFmpeg speaks.
        transport: What carries a stream of RTSP; by default TCP, or UDP if the server refuses that.

    Raises:
        ConfigError: a transport is given, and the stream is not one of RTSP.
    """
    if not url.lower().startswith("rtsp"):
        if transport:
            raise ConfigError(f"{redacted(url)}: transport is for addresses of RTSP; leave it out")
        return Address(url, redacted(url), _NETWORK_OPTIONS)
    chosen = {"rtsp_transport": transport} if transport else _RTSP_OPTIONS
    return Address(url, redacted(url), _NETWORK_OPTIONS | chosen)


def redacted(address: str) -> str:
    """An address as it may be shown and logged: passwords, keys and tokens are replaced by ***.

    A password that is not percent-encoded as it should be may hold any character, so it is taken to end at the last @,
    wherever that is. The name of the user stays.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    user = ""
    if with_password := re.match(r"([^/?#:\[]*):.*@", rest, re.DOTALL):
        user, rest = f"{with_password[1]}:***@", rest[with_password.end() :]
    return f"{scheme}://{user}" + "&".join(map(_redacted_parameter, rest.split("&")))


def _redacted_parameter(text: str) -> str:
    """What stands between two & of an address, without the value of a parameter that is secret."""
    for match in re.finditer(r"(?:^|[/?;#_])([^/?;#_=]*)=", text):
        if _SECRET_NAME.search(unquote(match[1]).lower()):
            return text[: match.end()] + "***"
    return text


def camera_address(source: str, *, fps: float | None = None) -> Address:
    """The address of a camera on this system: v4l2 on Linux, avfoundation on macOS, dshow on Windows.

    Args:
        source: A number, counted from 0 in the order of the system, or a device file of Linux.
        fps: The rate that is asked of it, by default its own.

    Raises:
        VideoError: there is no such camera, or the system has none that FFmpeg could open.
    """
    if source.startswith("/dev/"):
        return Address(source, source, _framerate(fps), "v4l2")
    number, name = int(source), f"camera {int(source)}"
    if sys.platform.startswith("linux"):
        return Address(f"/dev/video{number}", f"{name} (/dev/video{number})", _framerate(fps), "v4l2")
    if sys.platform == "darwin":
        return Address(f"{number}:none", name, _framerate(fps or _MACOS_CAMERA_FPS), "avfoundation")
    if sys.platform == "win32":
        cameras = [device for device in av.device.enumerate_input_devices("dshow") if "video" in device.media_types]
        if number >= len(cameras):
            raise VideoError(f"{name}: no such camera; {_cameras([camera.description for camera in cameras])}")
        return Address(f"video={cameras[number].name}", name, _framerate(fps), "dshow")
    raise VideoError(f"{name}: cameras of {sys.platform} cannot be opened; give the address of a stream")


def open_address(address: Address, *, timeout_seconds: float) -> InputContainer:
    """Connects and reads until it is known what comes.

    Args:
        address: Of a camera or a network stream.
        timeout_seconds: Longest silence, now and at each later read. Looking up a host name takes as long as the
            system lets it.

    Raises:
        VideoError: it cannot be opened; says why and what to do.
    """
    start = time.monotonic()
    try:
        return av.open(
            address.url,
            mode="r",
            format=address.device_format,
            options=dict(address.options),
            metadata_errors="ignore",
            timeout=(timeout_seconds, timeout_seconds),
        )
    except av.FFmpegError as error:
        # Some protocols call it invalid data when they are interrupted.
        is_late = isinstance(error, av.InvalidDataError) and time.monotonic() - start >= timeout_seconds
        reason = _nothing_came(timeout_seconds) if is_late else why(address, error, timeout_seconds)
        raise VideoError(f"{address.name}: {reason}") from None


def why(address: Address, error: av.FFmpegError, timeout_seconds: float) -> str:
    """What went wrong with a camera or a stream, and what to do about it."""
    # FFmpeg says EXIT when the time is up, since it was PyAV that interrupted it.
    if isinstance(error, av.ExitError | av.TimeoutError):
        return _nothing_came(timeout_seconds)
    if address.device_format is not None:
        return _why_camera(error)
    protocol = address.url.partition("://")[0]
    if isinstance(error, av.ConnectionRefusedError):
        return "connection refused; check the host and the port, and that the server runs"
    if isinstance(error, av.HTTPNotFoundError):
        return "the server knows no such stream (404 Not Found); check the path"
    if isinstance(error, av.HTTPUnauthorizedError | av.HTTPForbiddenError):
        return f"{reason_of(error)}; give the right user name and password, as in {protocol}://user:password@host/path"
    if isinstance(error, av.ProtocolNotFoundError):
        return (
            f"this FFmpeg does not speak {protocol}; offer the stream as rtsp, http, https, rtmp or udp, or build PyAV "
            f"from source with an FFmpeg that speaks {protocol}"
        )
    if error.errno == errno.EPROTONOSUPPORT:  # what FFmpeg makes of 461 Unsupported Transport
        return (
            "the server does not send its stream this way; choose another transport (--transport of lsn stream, "
            "SourceOptions.transport in Python)"
        )
    if isinstance(error, av.InvalidDataError):
        return "what comes is no video that FFmpeg knows; check the address"
    return f"{reason_of(error)}; check the address, the network, and that the server runs"


def _nothing_came(timeout_seconds: float) -> str:
    return (
        f"nothing came for {timeout_seconds:g} s; check the address and the network, or allow a longer silence "
        "(--timeout of lsn stream, SourceOptions.timeout_seconds in Python)"
    )


def _why_camera(error: av.FFmpegError) -> str:
    if isinstance(error, av.FileNotFoundError):
        return f"no such camera; {_cameras(sorted(map(str, Path('/dev').glob('video*'))))}"
    if isinstance(error, av.PermissionError):
        return "may not be read; add your user to the group that owns it (often 'video'), or allow it in the settings"
    if error.errno == errno.EBUSY:
        return "in use by another program; close that one first"
    return f"does not open as a camera: {reason_of(error)}; check that it is one and is plugged in"


def _cameras(names: list[str]) -> str:
    return f"there are: {', '.join(names)}" if names else "this machine has none"


def _framerate(fps: float | None) -> dict[str, str]:
    return {} if fps is None else {"framerate": f"{fps:g}"}
