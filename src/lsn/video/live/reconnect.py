"""Opening a live source again after it was lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from lsn.errors import VideoError
from lsn.video.live.source import LiveSource

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pauses before one attempt after the other; the last one goes on."""


class Reconnector:
    """Knows how to open a source, and for how long to try.

    Args:
        open_source: Opens the source.
        reconnect_seconds: How long to try after each loss; None for ever.
        backoff_seconds: Pauses before one attempt after the other; the last one is repeated.
        stopped: Set when nobody wants the source any more.
    """

    def __init__(
        self,
        open_source: Callable[[], LiveSource],
        *,
        reconnect_seconds: float | None,
        backoff_seconds: Sequence[float],
        stopped: threading.Event,
    ) -> None:
        self._open_source = open_source
        self._reconnect_seconds = reconnect_seconds
        self._backoff_seconds = tuple(backoff_seconds)
        self._stopped = stopped
        self._lost_at: float | None = None  # None while frames come
        self._num_attempts = 0

    def open_again(self, name: str, failure: VideoError | None) -> LiveSource | None:
        """Waits, and opens the source; None if it is no longer wanted.

        Args:
            name: Of the source.
            failure: How it was lost; None if it just ended.

        Raises:
            VideoError: the time is over.
        """
        if self._lost_at is None:
            self._lost_at, self._num_attempts = time.monotonic(), 0
            logger.warning("%s; opening it again", failure or f"{name}: ended")
        while True:
            left_seconds = self._left_seconds()
            if left_seconds is not None and left_seconds <= 0:
                raise VideoError(
                    f"{failure or f'{name}: ended'}; it did not come back within {self._reconnect_seconds:g} s "
                    f"({self._num_attempts} attempts)"
                )
            pause = self._backoff_seconds[min(self._num_attempts, len(self._backoff_seconds) - 1)]
            if self._stopped.wait(pause if left_seconds is None else min(pause, left_seconds)):
                return None
            self._num_attempts += 1
            try:
                return self._open_source()
            except VideoError as error:
                failure = error
                logger.debug("attempt %d: %s", self._num_attempts, error)

    def frame_came(self, name: str) -> bool:
        """Whether this frame ends a loss. An open source is not back until it gives one."""
        if self._lost_at is None:
            return False
        logger.warning("%s: back after %.1f s", name, time.monotonic() - self._lost_at)
        self._lost_at = None
        return True

    def _left_seconds(self) -> float | None:
        if self._reconnect_seconds is None or self._lost_at is None:
            return None
        return self._lost_at + self._reconnect_seconds - time.monotonic()
