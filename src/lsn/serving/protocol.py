"""What the two sides of a live stream say to each other, without a network.

Shapes: H height, W width, C = 3 channels.
"""

from __future__ import annotations

import io
import json
import struct
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from lsn.video.live.source import frame_array

HEADER = struct.Struct("<Qd")
"""Number of a frame and its time in seconds, before its picture."""
MAX_REMEMBERED = 64
"""Frames that a client can send again."""
JPEG_QUALITY = 90


class Conversation:
    """The client's side: numbers frames, keeps those that may have to be sent again, and knows where the stream is.

    Args:
        remembered: how many frames it keeps.
    """

    def __init__(self, *, remembered: int = MAX_REMEMBERED) -> None:
        self.num_lost = 0
        """Frames that came while the connection was broken, and that nobody will see."""
        self._remembered = remembered
        self._next_number = 0
        self._token: str | None = None
        self._sent: OrderedDict[float, bytes | str] = OrderedDict()  # by number
        self._lock = threading.Lock()  # guards all of it

    def start(self) -> str:
        """The first message of a connection."""
        return json.dumps({"type": "start"} if self._token is None else {"type": "start", "resume": self._token})

    def frame(self, seconds: float, picture: np.ndarray | bytes) -> bytes:
        """The message of the next frame.

        Args:
            seconds: when it came on screen.
            picture: uint8 RGB HWC, or JPEG, WebP or PNG.

        Raises:
            VideoError: it is no picture.
        """
        content = bytes(picture) if isinstance(picture, bytes | bytearray | memoryview) else _jpeg(picture)
        with self._lock:
            number, self._next_number = self._next_number, self._next_number + 1
            message = self._sent[number] = HEADER.pack(number, seconds) + content
            if len(self._sent) > self._remembered:
                self._sent.popitem(last=False)
        return message

    def reset(self) -> str:
        """The message that clears the memory before the next frame."""
        message = '{"type": "reset"}'
        with self._lock:
            self._sent[self._next_number - 0.5] = message  # between two frames, if it has to be said again
        return message

    def take(self, text: str) -> dict[str, Any]:
        """Takes a message of the server."""
        message: dict[str, Any] = json.loads(text)
        with self._lock:
            if message["type"] == "saved":
                self._forget(message["frame"])
            elif message["type"] == "ready":
                self._token = message["token"]
                if (frame := (message.get("resumed") or {}).get("frame")) is not None:
                    self._forget(frame)
                    oldest = next((number for number in self._sent if number % 1 == 0), self._next_number)
                    self.num_lost += int(oldest) - frame - 1
        return message

    def unseen(self) -> list[bytes | str]:
        """What the server may not have seen: what is sent first on a new connection."""
        with self._lock:
            return list(self._sent.values())

    def _forget(self, frame: int) -> None:
        while self._sent and next(iter(self._sent)) <= frame:
            self._sent.popitem(last=False)


def _jpeg(frame_HWC: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame_array(frame_HWC))).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
