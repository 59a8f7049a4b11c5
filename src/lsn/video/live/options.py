"""How one source is opened and read: what can be asked of a camera, an address, a file or an iterator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from lsn.errors import ConfigError, did_you_mean
from lsn.video.frame_sampler import check_above_zero

Policy = Literal["block", "drop_oldest", "drop_newest"]
"""What happens when the queue is full: the source waits, the tick that waited longest goes, or the new one does."""
Transport = Literal["tcp", "udp", "udp_multicast", "http"]
"""What carries an RTSP stream."""


@dataclass(frozen=True)
class SourceOptions:
    """Options of one source; the defaults fit all kinds.

    Raises:
        ConfigError: a value is out of range.
    """

    fps: float | None = None
    """Frames per second of a folder of images (30 by default) or of an iterator of frames alone; asked of a camera."""
    policy: Policy | None = None
    """What happens to frames that the model is too slow for; by default live sources drop the oldest, others wait."""
    timeout_seconds: float = 10.0
    """Longest time without a packet from a camera or an address, when opening and later, before it counts as lost."""
    reconnect_seconds: float | None = None
    """How long to try to open a lost camera or address again; None for ever, 0 not at all."""
    transport: Transport | None = None
    """What carries an RTSP stream; by default TCP, or UDP if the server refuses it."""
    num_threads: int = 1
    """Threads that decode."""
    ffmpeg_options: Mapping[str, str] = field(default_factory=dict)
    """More options for cameras and addresses, such as {"video_size": "640x480"}; FFmpeg ignores unknown ones."""

    def __post_init__(self) -> None:
        check_above_zero(fps=self.fps, timeout_seconds=self.timeout_seconds)
        for name, value, allowed in (
            ("policy", self.policy, get_args(Policy)),
            ("transport", self.transport, get_args(Transport)),
        ):
            if value is not None and value not in allowed:
                raise ConfigError(f"unknown {name} {value!r}; {did_you_mean(value, allowed)}")
        if self.reconnect_seconds is not None and not 0 <= self.reconnect_seconds < math.inf:
            raise ConfigError(
                f"reconnect_seconds is {self.reconnect_seconds}; it must be a finite number, 0 (never) or None (for "
                "ever)"
            )
        if self.num_threads < 1:
            raise ConfigError(f"{self.num_threads} decoding threads; it must be at least 1")
        for name, text in self.ffmpeg_options.items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise ConfigError(f"ffmpeg_options has {name!r}: {text!r}; both must be text, as in 'rtbufsize': '64M'")
