"""`lsn stream`: what happens, live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lsn.cli.commands.remote_stream import Remote, stream_remotely
from lsn.cli.options.source import SourceFlags
from lsn.cli.options.stream import StreamOptions, event_line, named_sources, streaming_predictor
from lsn.cli.options.weights import weights_files
from lsn.cli.signals import first_signal_asks
from lsn.cli.ui.console import error_line, output
from lsn.cli.ui.live_view import LineView, LiveView, View, counts_text, event_text
from lsn.errors import ConfigError
from lsn.files import check_outputs
from lsn.parsing import to_json

if TYPE_CHECKING:
    from typing import TextIO

    from lsn.streaming import StreamEnd, StreamPrediction
    from lsn.streaming.recorder import StreamRecorder
    from lsn.streaming.runner import StreamRunner


@dataclass(frozen=True)
class Outputs:
    """What becomes of the answers, and where the stream starts."""

    events: Path | None = None
    """Append each event to this file, as a line of JSON."""
    record: Path | None = None
    """Write what the model saw, with its answers drawn on it, into this video (.mp4)."""
    json: bool = False
    """One line of JSON an answer instead of the live view."""
    state: Path | None = None
    """Continue from this file, which --save-state wrote."""
    save_state: Path | None = None
    """At the end, write where the stream stands into this file."""

    def check(self, sources: Mapping[str, str], weights: Path) -> None:
        """Refuses files that are for one stream, and those that would be written over what is read."""
        one = (("--record", self.record), ("--state", self.state), ("--save-state", self.save_state))
        for option, path in one:
            if path is not None and len(sources) > 1:
                raise ConfigError(f"{option} is for one source; got {len(sources)}")
        check_outputs((self.record, self.events, self.save_state), [*sources.values(), *weights_files(weights)])
        check_outputs((self.record, self.events), (self.state,))  # a state may take the place of the one before


def stream(
    weights: Path,
    /,
    *sources: str,
    name: str | None = None,
    options: Annotated[StreamOptions | None, Parameter(name="*")] = None,
    flags: Annotated[SourceFlags | None, Parameter(name="*")] = None,
    outputs: Annotated[Outputs | None, Parameter(name="*")] = None,
    remote: Annotated[Remote | None, Parameter(name="*")] = None,
    seconds: float | None = None,
) -> int:
    """Recognise what happens in cameras, streams and files, live.

    Ctrl-C, SIGTERM or a closed terminal end it as the end of the source does: events under way are written, and the
    recording and the state are kept. A source that fails costs an error line and the exit code 2; the others go on.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, or a name of the Hub; of a causal model.
    sources
        Cameras (0, /dev/video0), addresses (rtsp://..., http://...), video files, or folders of frames. NAME=SOURCE
        names a stream, as in door=rtsp://...; otherwise it is called as its source, with passwords hidden.
    name
        Name of the stream of a single source.
    seconds
        Stop after so many seconds, whatever the sources do.
    """
    options, flags, outputs = options or StreamOptions(), flags or SourceFlags(), outputs or Outputs()
    if remote is not None and remote.server is not None:
        return _stream_remotely(remote, (str(weights), *sources), name, options, flags, outputs, seconds)
    if not sources:
        raise ConfigError(f"nothing to watch; lsn stream {weights} SOURCE, where SOURCE is 0 for a camera, or clip.mp4")
    named = named_sources(sources, name=name)
    outputs.check(named, weights)
    of_sources = flags.options_of(list(named), fps=options.source_fps)
    predictor, remarks = streaming_predictor(weights, options, capacity=len(named))
    from lsn.streaming import StreamRunner

    states = {} if outputs.state is None else dict.fromkeys(named, outputs.state)
    with (
        StreamRunner(predictor, named, options=of_sources, states=states, seconds=seconds) as runner,
        first_signal_asks(runner.stop),  # until all is written; a second signal interrupts
        _reporting(runner, outputs, remarks, fps=predictor.fps) as reporter,
    ):
        for result in runner:
            reporter.take(result, runner)
    if reporter.output_failure is not None:
        raise reporter.output_failure
    return 2 if reporter.num_failed else 0


def _stream_remotely(
    remote: Remote,
    sources: tuple[str, ...],
    name: str | None,
    options: StreamOptions,
    flags: SourceFlags,
    outputs: Outputs,
    seconds: float | None,
) -> int:
    named = named_sources(sources, name=name)
    if len(named) > 1:
        raise ConfigError(f"--server takes one source, and no weights; got {' '.join(sources)}")
    if options != StreamOptions(source_fps=options.source_fps):
        raise ConfigError("with --server, the server's options say how streams are seen; leave them out here")
    if outputs != Outputs(events=outputs.events, json=outputs.json):
        raise ConfigError(
            "--record, --state and --save-state are for streams that run here; leave them out, or --server"
        )
    ((stream_name, source),) = named.items()
    of_source = flags.options_of([stream_name], fps=options.source_fps)[stream_name]
    return stream_remotely(
        remote, stream_name, source, of_source, as_json=outputs.json, events=outputs.events, seconds=seconds
    )


@contextmanager
def _reporting(runner: StreamRunner, outputs: Outputs, remarks: list[str], *, fps: float) -> Iterator[_Reporter]:
    """Opens all outputs; when the block ends they are finished, and the state is saved."""
    from lsn.streaming.recorder import StreamRecorder

    with ExitStack() as stack:
        if outputs.save_state is not None:
            (session,) = runner.sessions.values()
            stack.callback(session.save, outputs.save_state)  # whatever else fails
        yield _Reporter(
            view=None if outputs.json else stack.enter_context(_view(remarks)),
            log=None if outputs.events is None else stack.enter_context(_opened(outputs.events)),
            recorder=None if outputs.record is None else stack.enter_context(StreamRecorder(outputs.record, fps=fps)),
            stop=runner.stop,
        )


class _Reporter:
    """Passes on what is known of the streams: to the recording, to the log of events, to the screen or as JSON.

    When nobody reads the output any more (a closed terminal, a pipe whose reader has left), it calls `stop`; the
    recording and the log still get all that is left.
    """

    def __init__(
        self,
        *,
        view: View | None,
        log: TextIO | None,
        recorder: StreamRecorder | None,
        stop: Callable[[], None],
    ) -> None:
        self._view, self._log, self._recorder, self._stop = view, log, recorder, stop
        self.num_failed = 0
        self.output_failure: OSError | SystemExit | None = None

    def take(self, result: StreamPrediction | StreamEnd, runner: StreamRunner) -> None:
        from lsn.streaming.prediction import StreamPrediction

        if isinstance(result, StreamPrediction):
            if self._recorder is not None:
                self._recorder.write(result)
        elif result.error is not None:
            self.num_failed += 1
        if self._log is not None:
            self._log.writelines(f"{event_line(result.stream, report.to_dict())}\n" for report in result.events)
            self._log.flush()
        if self.output_failure is None:
            try:
                self._print(result, runner)
            except (OSError, SystemExit) as failure:  # Rich exits when a pipe breaks
                self.output_failure = failure
                self._stop()

    def _print(self, result: StreamPrediction | StreamEnd, runner: StreamRunner) -> None:
        from lsn.streaming.prediction import StreamPrediction

        if isinstance(result, StreamPrediction):
            if self._view is not None:
                self._view.show(result, runner.counts(result.stream))
        elif result.error is not None:
            error_line(str(result.error))
        if self._view is None:
            print(to_json(result.to_dict()), flush=True)
            return
        for report in result.events:
            self._view.say(event_text(result.stream, report))
        if not isinstance(result, StreamPrediction) and result.error is None:
            self._view.say(f"{result.stream}  ended at {result.seconds:.2f} s; {counts_text(result.counts)}")


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
    with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
        yield file
