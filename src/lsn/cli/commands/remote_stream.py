"""`lsn stream --server`: a source of this machine, recognised by a server."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsn.cli.options.stream import event_line
from lsn.cli.signals import first_signal_asks
from lsn.cli.ui.console import error_line, output
from lsn.cli.ui.live_view import event_text
from lsn.errors import ConfigError
from lsn.parsing import to_json

if TYPE_CHECKING:
    import numpy as np

    from lsn.serving import LiveClient
    from lsn.video.live.options import SourceOptions

MAX_UNANSWERED = 4
"""Frames of a file that are under way, no more than the server lets wait; a camera does not wait."""
ANSWER_SECONDS = 5.0
"""How long a file waits for an answer before it goes on."""
SHORT_SIDE = 480
"""Pixels of the pictures that are sent, at most."""


@dataclass(frozen=True)
class Remote:
    """A server that runs the model, in place of this machine."""

    server: str | None = None
    """Address of a server (`lsn serve`) that runs the model; give the source and no weights then."""
    token_file: Path | None = None
    """File with the token that the server asks for."""

    def token(self) -> str | None:
        """What the file says.

        Raises:
            ConfigError: it cannot be read.
        """
        if self.token_file is None:
            return None
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"--token-file {self.token_file}: cannot be read ({error})") from None


def stream_remotely(
    remote: Remote,
    name: str,
    source: str,
    options: SourceOptions,
    *,
    as_json: bool,
    events: Path | None,
    seconds: float | None,
) -> int:
    """Sends a source to a server and shows what it answers; returns the exit code."""
    from lsn.serving import Client

    assert remote.server is not None
    with Client(remote.server, token=remote.token()).live() as live:
        ready = live.get(timeout_seconds=ANSWER_SECONDS) or {}
        sender = _Sender(live, source, options, fps=ready["fps"])
        timer = threading.Timer(seconds or 0.0, sender.stop)
        if seconds is not None:
            timer.start()
        with first_signal_asks(sender.stop):
            for message in live:
                sender.note(message)
                _show(name, message, as_json=as_json, events=events)
        timer.cancel()
        sender.stop()
    if sender.failure is not None:
        error_line(str(sender.failure))
        return 2
    return 0


class _Sender:
    """Reads a source and sends what a model of this rate looks at, in a thread of its own."""

    def __init__(self, live: LiveClient, source: str, options: SourceOptions, *, fps: float) -> None:
        from lsn.video.frame_sampler import FrameSampler
        from lsn.video.live.capture_thread import CaptureThread
        from lsn.video.live.ffmpeg_input import is_camera, is_url

        self.failure: Exception | None = None
        """What the source failed with."""
        self._live, self._waits = live, not (is_url(source) or is_camera(source))
        self._answered = threading.Condition()  # guards the next line
        self._num_unanswered = 0
        self._capture = CaptureThread(source, FrameSampler(fps), options)
        threading.Thread(target=self._send_all, name="lsn-sender", daemon=True).start()

    def note(self, message: dict[str, Any]) -> None:
        """Takes a message of the server."""
        if message["type"] == "result":
            with self._answered:
                self._num_unanswered = max(0, self._num_unanswered - 1)
                self._answered.notify()

    def stop(self) -> None:
        """Ends the source; what the server still answers comes."""
        self._capture.close()

    def _send_all(self) -> None:
        shown_at: float | None = None
        try:
            for tick in self._capture:
                if tick.pts_seconds == shown_at:  # still the same picture
                    continue
                shown_at = tick.pts_seconds
                with self._answered:
                    is_answered = self._answered.wait_for(
                        lambda: not self._waits or self._num_unanswered < MAX_UNANSWERED, ANSWER_SECONDS
                    )
                    if not is_answered:  # as frames may be lost
                        self._num_unanswered = 0
                    self._num_unanswered += 1
                self._live.send(tick.pts_seconds, _shrunk(tick.frame))
        except Exception as failure:
            self.failure = failure
        self._live.finish()


def _shrunk(frame_HWC: np.ndarray) -> np.ndarray:
    import numpy as np
    from PIL import Image

    short = min(frame_HWC.shape[:2])
    if short <= SHORT_SIDE:
        return frame_HWC
    height, width = (round(side * SHORT_SIDE / short) for side in frame_HWC.shape[:2])
    return np.asarray(Image.fromarray(frame_HWC).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))


def _show(name: str, message: dict[str, Any], *, as_json: bool, events: Path | None) -> None:
    kind, fields = message["type"], {key: value for key, value in message.items() if key != "type"}
    if kind == "event" and events is not None:
        events.parent.mkdir(parents=True, exist_ok=True)
        with events.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{event_line(name, fields)}\n")
    if as_json:
        print(to_json({"stream": name, **message}), flush=True)
        return
    console = output()
    if kind == "event":
        from lsn.streaming.events import Event, EventReport

        report = fields.pop("report")
        console.print(event_text(name, EventReport(report, Event(**fields))))
    elif kind == "disconnected":
        console.print(f"{name}  connection lost, trying again", style="yellow")
    elif kind == "ready":
        error = message["resumed"]["error"]
        console.print(f"{name}  connected again; {error or 'the stream resumes'}", style="yellow")
    elif kind in ("missing", "dropped"):
        console.print(f"{name}  {message['frames']} frames {kind}", style="yellow")
    elif kind == "error":
        console.print(f"{name}  {message['error']}", style="yellow")
    elif kind == "ended":
        console.print(f"{name}  ended at {message['seconds']:.2f} s")
