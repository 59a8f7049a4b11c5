"""A small RTSP camera on this machine: one client at a time, MPEG-4 over RTP (RFC 2326).

RTP comes inside the TCP connection, or as UDP packets if the camera is made for that.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Self

import av
import numpy as np

_CLOCK = 90_000  # of RTP, a second


def encode_mpeg4(frames: Sequence[np.ndarray], rate: int) -> tuple[bytes, list[bytes]]:
    """The decoder's configuration and one packet a frame, each decodable alone."""
    height, width, _ = frames[0].shape
    context = av.CodecContext.create("mpeg4", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, rate), Fraction(rate)
    context.gop_size = 1
    context.flags |= av.codec.context.Flags.global_header
    context.open()
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = number, Fraction(1, rate)
        packets += [bytes(packet) for packet in context.encode(picture)]
    packets += [bytes(packet) for packet in context.encode(None)]
    return context.extradata, packets


class RTSPServer:
    """Plays its frames to each client that asks, then closes the connection, or waits with it open.

    Args:
        frames: uint8 RGB.
        rate: frames per second, by the timestamps; they are sent as fast as the client takes them.
        stays: whether the connection stays open after the last frame.
        password: asked for if given; the user is "me".
        part: which of the frames it plays; their encoding does not depend on it.
        sessions: how many clients it plays to before it is gone for good; None for any number.
        transports: what it sends its frames by, "TCP" or "UDP"; clients that ask for something else are refused.
    """

    def __init__(
        self,
        frames: Sequence[np.ndarray],
        *,
        rate: int,
        stays: bool = False,
        password: str | None = None,
        part: slice = slice(None),
        sessions: int | None = None,
        transports: Collection[str] = ("TCP",),
    ):
        self._config, packets = encode_mpeg4(frames, rate)
        self._packets, self._sessions = packets[part], sessions
        self._rate = rate
        self._stays = stays
        self._password = password
        self._transports = transports
        self.requests: list[str] = []
        self.transports: list[str] = []  # that the clients asked for
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._stopped = threading.Event()
        self._client: socket.socket | None = None
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._send: Callable[[bytes], object]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._port}/camera"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        for connection in (self._listener, self._client):
            with contextlib.suppress(OSError, AttributeError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._udp.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(OSError):
                self._client, _ = self._listener.accept()
                with self._client, self._client.makefile("rb") as lines:
                    while self._answer(lines, self._client):
                        pass

    def _answer(self, lines, client: socket.socket) -> bool:
        """Answers one request; False when the session is over."""
        request = lines.readline().decode().split()
        if not request:
            return False
        method = request[0]
        headers = {}
        while line := lines.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self.requests.append(method)
        if "cseq" not in headers:  # a tunnel through HTTP, which this camera does not have
            return False
        more, body = "", ""
        status = "200 OK"
        if self._password is not None and "authorization" not in headers:
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
        elif method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = self._description()
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            status, more = self._set_up(headers["transport"], client)
        elif method == "PLAY":
            more = "Session: 1\r\n"
        client.sendall(f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}\r\n{body}".encode())
        if method == "PLAY":
            if self.requests.count("PLAY") == self._sessions:  # before the client can come back
                self._stopped.set()
                self._listener.close()
            self._play()
            if self._stays:
                self._stopped.wait()
        return method not in ("PLAY", "TEARDOWN")

    def _set_up(self, transport: str, client: socket.socket) -> tuple[str, str]:
        """Decides how frames are sent; returns the status and the headers of the answer."""
        self.transports.append(transport)
        asked = "TCP" if "TCP" in transport else "multicast" if "multicast" in transport else "UDP"
        if asked not in self._transports:
            return "461 Unsupported Transport", ""
        if asked == "TCP":
            self._send = lambda rtp: client.sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
            return "200 OK", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        ports = transport.partition("client_port=")[2]
        to = "127.0.0.1", int(ports.partition("-")[0])
        self._send = lambda rtp: self._udp.sendto(rtp, to)
        return "200 OK", f"Transport: RTP/AVP;unicast;client_port={ports}\r\nSession: 1\r\n"

    def _play(self) -> None:
        for number, packet in enumerate(self._packets):
            time = number * _CLOCK // self._rate
            self._send(struct.pack(">BBHII", 0x80, 0x80 | 96, number, time, 7) + packet)  # marked: a whole frame

    def _description(self) -> str:
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\n"
            f"a=fmtp:96 profile-level-id=1;config={self._config.hex()}\r\na=control:track1\r\n"
        )
