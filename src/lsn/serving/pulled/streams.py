"""Streams that the server reads itself: cameras, addresses and files that it may read."""

from __future__ import annotations

import io
import logging
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

from lsn.errors import ConfigError, LSNError, WeightsError
from lsn.serving.metrics import Metrics
from lsn.serving.pulled.sources import AllowedSources, open_source
from lsn.serving.pulled.subscribers import Subscribers
from lsn.serving.states import Snapshot, StateStoreError
from lsn.serving.streams import LiveStreams, Saved
from lsn.streaming import StreamPrediction
from lsn.streaming.prediction import StreamEnd
from lsn.video.live.ffmpeg_input import redacted
from lsn.video.live.source import LiveSource

logger = logging.getLogger(__name__)

State: TypeAlias = Literal["connecting", "running", "stalled", "reconnecting", "paused", "ended", "failed"]
STALLED_SECONDS = 3.0
"""Without an answer, a stream is stalled."""
MAX_EVENTS = 100
"""The last ones of a stream, which are kept."""
MAX_SIDE = 4096
"""Pixels of the longer side of a picture."""


class StreamNameError(ConfigError):
    """No stream can have this name."""


class StreamExistsError(LSNError):
    """There is a stream of this name."""


class ForbiddenSourceError(LSNError):
    """A server may not read this."""


class PulledStream:
    """One of them. The thread of the engine reports, others ask.

    Args:
        name: of the stream.
        source: that is read.
        everywhere: the subscribers of all streams.
    """

    def __init__(self, name: str, source: str, everywhere: Subscribers) -> None:
        self.name, self.source = name, source
        self.subscribers = Subscribers()
        """Of this stream alone."""
        self._everywhere = everywhere
        self.running_name: str | None = None
        """What the engine calls it; None if it does not run."""
        self._is_paused = False
        self._num_openings = 0
        self._is_open = False
        self._answered_at: float | None = None
        self._last: StreamPrediction | None = None
        self._pictures: dict[int, tuple[StreamPrediction, bytes]] = {}  # by their longest side
        self._end: StreamEnd | None = None
        self._num_dropped = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)

    @property
    def state(self) -> State:
        """How it goes."""
        if self._is_paused:
            return "paused"
        if self._end is not None:
            return "ended" if self._end.error is None else "failed"
        if not self._is_open:
            return "connecting" if self._num_openings <= 1 else "reconnecting"
        if self._answered_at is None:
            return "connecting"
        return "running" if time.monotonic() - self._answered_at <= STALLED_SECONDS else "stalled"

    def open(self) -> LiveSource:
        """Opens its source, as often as that is lost."""
        self._is_open = False
        self._num_openings += 1
        source = open_source(self.source)
        self._is_open, self._answered_at = True, None
        return source

    def begin(self, running_name: str, *, is_resumed: bool) -> Callable[[], None]:
        """It runs from now on; returns what takes that back."""
        events = self._events
        if not is_resumed:
            self._events = deque(maxlen=MAX_EVENTS)  # their numbers begin again
        was = self._is_paused, self._end, events

        def undo() -> None:
            self.running_name, (self._is_paused, self._end, self._events) = None, was

        self.running_name, self._is_paused, self._end, self._num_openings = running_name, False, None, 0
        return undo

    def pause(self) -> None:
        """It does not run until it begins again."""
        self._is_paused = True

    def hear(self, metrics: Metrics, result: StreamPrediction | StreamEnd | Saved, num_dropped: int) -> None:
        """Takes what the engine reports."""
        if isinstance(result, Saved):
            return
        newly_dropped = max(0, num_dropped - self._num_dropped)
        self._num_dropped = num_dropped
        metrics.count(result, num_dropped=newly_dropped, age_seconds=None)
        for report in result.events:
            self._events.append(report.to_dict())
            self._publish({"type": "event", **report.to_dict()})
        if isinstance(result, StreamEnd):
            self._end, self.running_name = result, None
            self._publish({"type": "ended", "error": None if result.error is None else str(result.error)})
        else:
            self._last, self._answered_at = result, time.monotonic()
            self._publish({"type": "result", "top5": result.to_dict()["top5"], "seconds": result.seconds})

    @property
    def is_over(self) -> bool:
        """Whether it runs no more."""
        return self._end is not None

    def picture(self, longest_side: int = MAX_SIDE) -> bytes | None:
        """The last frame that was answered, as JPEG; None before one. It is made once for all who ask."""
        from PIL import Image

        last = self._last
        if last is None:
            return None
        made_of, picture = self._pictures.get(longest_side, (None, b""))
        if made_of is not last:
            image, file = Image.fromarray(last.frame_HWC), io.BytesIO()
            image.thumbnail((longest_side, longest_side))
            image.save(file, "JPEG", quality=80)
            picture = file.getvalue()
            self._pictures[longest_side] = last, picture
        return picture

    def to_dict(self) -> dict[str, Any]:
        """All that is known, as plain data."""
        last = self._last
        error = None if self._end is None or self._end.error is None else str(self._end.error)
        return {
            "name": self.name,
            "source": redacted(self.source),
            "state": self.state,
            "error": error,
            "seconds": None if last is None else last.seconds,
            "top5": [] if last is None else last.to_dict()["top5"],
            "num_frames": 0 if last is None else last.num_frames,
            "frames_dropped": self._num_dropped,
            "events": list(self._events),
        }

    def _publish(self, message: dict[str, Any]) -> None:
        self.subscribers.publish(message)
        self._everywhere.publish({"stream": self.name, **message})


class PulledStreams:
    """All of them. Its methods wait for the engine, so they are for other threads than the server's.

    Args:
        streams: run them.
        metrics: count what is answered.
        allowed: what clients may have read.
    """

    def __init__(self, streams: LiveStreams, metrics: Metrics, allowed: AllowedSources) -> None:
        self._streams, self._metrics, self._allowed = streams, metrics, allowed
        self._pulled: dict[str, PulledStream] = {}
        self.subscribers = Subscribers()
        """Of all streams."""
        self._lock = threading.Lock()  # one change at a time

    def all(self) -> list[PulledStream]:
        """By name."""
        return [self._pulled[name] for name in sorted(self._pulled)]

    def get(self, name: str) -> PulledStream | None:
        """One of them."""
        return self._pulled.get(name)

    def add(self, name: str, source: str, *, is_trusted: bool = False) -> PulledStream:
        """Begins to read a source; with a state under this name, it resumes from it.

        Args:
            name: letters, digits, ".", "_" and "-".
            source: that is allowed.
            is_trusted: whether it need not be.

        Raises:
            ConfigError: all slots are taken.
            StreamNameError: the name is none.
            StreamExistsError: there is a stream of this name.
            ForbiddenSourceError: clients may not have it read.
        """
        if not re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII):
            raise StreamNameError(f"a stream's name has 1 to 64 letters, digits, '.', '_' and '-', not {name[:80]!r}")
        if not is_trusted and not self._allowed.allow(source):
            raise ForbiddenSourceError(
                f"{redacted(source)[:200]}: not among the sources that this server may read (--allow-sources)"
            )
        with self._lock:
            if name in self._pulled and self._pulled[name].state not in ("ended", "failed"):
                raise StreamExistsError(f"there is a stream {name} already; end it or give this one another name")
            stream = PulledStream(name, source, self.subscribers)
            self._begin(stream)
            self._pulled[name] = stream
        return stream

    def remove(self, stream: PulledStream) -> None:
        """Ends a stream and forgets it and its state."""
        with self._lock:
            if self._pulled.get(stream.name) is stream:
                self._stop(stream)
                self._streams.snapshots.keep(_token(stream.name), None)
                del self._pulled[stream.name]

    def pause(self, stream: PulledStream) -> None:
        """Stops reading; it can be resumed from there, and others have its slot until then."""
        with self._lock:
            if stream.running_name is not None:
                stream.pause()
                self._stop(stream)

    def resume(self, stream: PulledStream) -> None:
        """Resumes a stream that was paused, or has ended.

        Raises:
            ConfigError: all slots are taken.
        """
        with self._lock:
            if stream.running_name is None and self._pulled.get(stream.name) is stream:
                self._begin(stream)

    def reset(self, stream: PulledStream) -> None:
        """Clears the memory of a stream."""
        if (name := stream.running_name) is not None:
            self._streams.reset(name)

    def _begin(self, stream: PulledStream) -> None:
        try:
            self._open(stream, self._streams.resume(_token(stream.name)))
        except (StateStoreError, WeightsError) as error:
            logger.warning("stream %s starts without its state: %s", stream.name, error)
            self._open(stream, None)
        self._metrics.count_opened()

    def _open(self, stream: PulledStream, resumed: Snapshot | None) -> None:
        running_name = f"{stream.name}-{uuid.uuid4().hex}"
        undo = stream.begin(running_name, is_resumed=resumed is not None)
        try:
            self._streams.open(
                running_name,
                stream.open,
                partial(stream.hear, self._metrics),
                title=stream.name,
                token=_token(stream.name),
                resumed=resumed,
            ).result()
        except LSNError:
            undo()
            raise

    def _stop(self, stream: PulledStream) -> None:
        if (name := stream.running_name) is not None:
            self._streams.leave(name).result()


def _token(name: str) -> str:
    """Under which the states of a stream are kept; no token of a client looks like this."""
    return f"pulled/{name}"
