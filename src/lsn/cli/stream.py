"""`lsn stream`: what happens, while it happens."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lsn.cli.console import error_line, output
from lsn.cli.live import LineView, LiveView, View, counts_text, event_text
from lsn.cli.streaming import StreamOptions, event_line, streaming_predictor
from lsn.errors import ConfigError

if TYPE_CHECKING:
    from typing import TextIO

    from lsn.inference.stream import StreamAnswer
    from lsn.inference.stream.record import StreamRecorder
    from lsn.inference.stream.watch import StreamEnd, Watch


def stream(
    weights: Path,
    /,
    *sources: str,
    options: Annotated[StreamOptions | None, Parameter(name="*")] = None,
    policy: Literal["block", "drop_oldest", "drop_newest"] | None = None,
    reconnect: float | None = None,
    seconds: float | None = None,
    events: Path | None = None,
    record: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    state: Path | None = None,
    save_state: Path | None = None,
) -> int:
    """Tell what happens in cameras, network streams and files, while it happens.

    Ctrl-C ends it; what was recorded is kept. A source that fails costs an error line and the exit code 2; the others
    go on.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, of a causal model.
    sources
        Cameras (0, /dev/video0), addresses (rtsp://..., http://...), video files, or folders of frames.
    policy
        What becomes of frames that come too fast: block lets the source wait, drop_oldest and drop_newest lose some,
        counted. By default cameras and addresses drop the oldest, and files wait.
    reconnect
        Seconds to try to reach a live source again that was lost; by default for ever.
    seconds
        Stop after so many seconds.
    events
        Append each event to this file, as a line of JSON.
    record
        Write what the model saw, with its answers drawn on it, into this video (.mp4).
    json_
        One line of JSON an answer instead of the live view.
    state
        Go on from this file, which --save-state wrote.
    save_state
        At the end, write where the stream stands into this file.
    """
    if not sources:
        raise ConfigError(f"nothing to watch; lsn stream {weights} SOURCE, where SOURCE is 0 for a camera, or clip.mp4")
    if len(set(sources)) < len(sources):
        raise ConfigError("a source was given twice; name each one once")
    for name, path in (("--record", record), ("--state", state), ("--save-state", save_state)):
        if path is not None and len(sources) > 1:
            raise ConfigError(f"{name} is for one source; got {len(sources)}")
    options = options or StreamOptions()
    predictor, remarks = streaming_predictor(weights, options, capacity=len(sources))
    from lsn.inference.stream.record import StreamRecorder
    from lsn.inference.stream.watch import Watch

    with ExitStack() as stack:
        watch = stack.enter_context(
            Watch(
                predictor,
                {source: source for source in sources},
                policy=policy,
                source_fps=options.source_fps,
                reconnect_seconds=reconnect,
                states={} if state is None else {sources[0]: state},
            )
        )
        teller = _Teller(
            view=None if json_ else stack.enter_context(_view(remarks)),
            log=None if events is None else stack.enter_context(_opened(events)),
            recorder=None if record is None else stack.enter_context(StreamRecorder(record, fps=predictor.fps)),
        )
        with _ctrl_c_stops(watch):
            _watch(watch, teller, stop_at=None if seconds is None else time.monotonic() + seconds)
        if save_state is not None:
            watch.streams[sources[0]].save(save_state)
    return 2 if teller.num_failed else 0


def _watch(watch: Watch, teller: _Teller, *, stop_at: float | None) -> None:
    from lsn.inference.stream.session import StreamAnswer

    for told in watch:
        if isinstance(told, StreamAnswer):
            teller.answer(told, watch)
        else:
            teller.end(told)
        if stop_at is not None and time.monotonic() >= stop_at:
            return


class _Teller:
    """Passes on what is told of the streams: to the screen or as JSON, to the log of events, to the recording."""

    def __init__(self, *, view: View | None, log: TextIO | None, recorder: StreamRecorder | None) -> None:
        self._view, self._log, self._recorder = view, log, recorder
        self.num_failed = 0

    def answer(self, answer: StreamAnswer, watch: Watch) -> None:
        if self._view is None:
            print(json.dumps(answer.to_dict(), ensure_ascii=False), flush=True)
        else:
            self._view.show(answer, watch.counts(answer.stream))
        if self._recorder is not None:
            self._recorder.write(answer)
        self._events(answer)

    def end(self, end: StreamEnd) -> None:
        self._events(end)
        if end.error is not None:
            self.num_failed += 1
            error_line(str(end.error))
        if self._view is None:
            print(json.dumps(end.to_dict(), ensure_ascii=False), flush=True)
        elif end.error is None:
            self._view.say(f"{end.stream}  ended at {end.seconds:.2f} s; {counts_text(end.counts)}")

    def _events(self, told: StreamAnswer | StreamEnd) -> None:
        for event in told.events:
            if self._view is not None:
                self._view.say(event_text(told.stream, event))
            if self._log is not None:
                self._log.write(event_line(told.stream, event) + "\n")
                self._log.flush()


@contextmanager
def _ctrl_c_stops(watch: Watch) -> Iterator[None]:
    """Ctrl-C is the way to end a camera: it lets the answer under way be written. A second one interrupts.

    As an exception it could strike between taking a lock and giving it back, and the threads would wait for ever.
    """
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        watch.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _view(remarks: list[str]) -> Iterator[View]:
    console = output()
    for remark in remarks:
        console.print(remark, style="dim")
    with LiveView() if console.is_terminal else LineView() as view:
        yield view


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        yield file
