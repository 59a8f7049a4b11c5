"""`lsn serve`: a trained model as a service."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from lsn.cli.options.stream import StreamOptions, streaming_predictor
from lsn.cli.options.weights import run_views
from lsn.cli.ui.console import output
from lsn.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from rich.console import Console

    from lsn.serving.access import Access
    from lsn.serving.states import Snapshots
    from lsn.serving.streams import LiveStreams
    from lsn.serving.videos.analysis import VideoAnalyzer

CLOSING_SECONDS = 5.0
"""Time for the last events."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Place:
    """Where clients find the server, and how much it takes."""

    host: str = "127.0.0.1"
    """Address of this machine; others than loopback need --tokens or --insecure."""
    port: int = 8000
    """0 takes a free one."""
    streams: int = 8
    """Live streams at the same time, at most."""
    max_megabytes: int = 512
    """Of a video that is sent."""
    max_seconds: float = 4 * 3600
    """That such a video may be long, for models of long videos."""
    idle_seconds: float = 60.0
    """A stream ends when no frame comes for so long."""
    pull: tuple[str, ...] = ()
    """Streams that the server reads from the start, as NAME=SOURCE: cameras, addresses, files."""
    publish: str | None = None
    """Where events go as they happen: mqtt://HOST[:PORT][/TOPIC], or the http(s):// address of a webhook."""
    state_store: str | None = None
    """Folder, or redis://HOST:PORT: live streams go on after the death of a process, here or on another server."""
    snapshot_seconds: float = 5.0
    """Between two snapshots of a stream."""

    def check(self) -> None:
        """Refuses numbers that cannot be.

        Raises:
            ConfigError: names the option.
        """
        for name in ("streams", "max_megabytes", "max_seconds", "idle_seconds", "snapshot_seconds"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}; it must be a finite number above 0")


@dataclass(frozen=True)
class Doors:
    """Who may use the server."""

    tokens: Path | None = None
    """File with a name and the SHA-256 of a token in each line; whoever shows none of them is refused."""
    insecure: bool = False
    """Let everybody in who reaches the address."""
    names: tuple[str, ...] = ()
    """Names that browsers know the server by, if a proxy stands before it."""
    certificate: Path | None = None
    """In PEM, to answer over TLS."""
    key: Path | None = None
    """Of the certificate, if it stands in another file."""
    allow_sources: tuple[str, ...] = ()
    """What clients may have the server read: rtsp://HOST, http://HOST:PORT, folders, files, cameras."""
    requests_per_minute: int = 600
    """Of a client, at most."""
    streams_per_client: int | None = None
    """Live streams of a client at the same time, at most."""
    access_log: Path | None = None
    """File that gets a JSON line for each request, /dev/stderr for instance."""

    def check(self, host: str) -> None:
        """Refuses an open door.

        Raises:
            ConfigError: everybody could come in, and nobody said so, or a limit lets nobody in.
        """
        if self.requests_per_minute < 1 or (self.streams_per_client is not None and self.streams_per_client < 1):
            raise ConfigError("--requests-per-minute and --streams-per-client must be at least 1")
        if host not in LOOPBACK and self.tokens is None and not self.insecure:
            raise ConfigError(
                f"--host {host}: everybody who reaches it could use the server; give --tokens, or add --insecure if "
                "that is meant"
            )

    def access(self, host: str) -> Access:
        """The rules for requests.

        Raises:
            ConfigError: the file of tokens cannot be read.
        """
        from lsn.serving.access import Access, read_tokens

        return Access(
            hosts=(*LOOPBACK, *self.names) if host in LOOPBACK else None,
            tokens={} if self.tokens is None else read_tokens(self.tokens),
            requests_per_minute=self.requests_per_minute,
            streams_per_client=self.streams_per_client,
        )


def serve(
    weights: Path,
    /,
    *,
    place: Annotated[Place | None, Parameter(name="*")] = None,
    doors: Annotated[Doors | None, Parameter(name="*")] = None,
    options: Annotated[StreamOptions | None, Parameter(name="*")] = None,
) -> None:
    """Serve a trained model over HTTP and WebSocket.

    POST /v1/predict takes a video and answers what happens in it; WebSocket /v1/live takes frames as they come and
    answers at once (docs/serving.md). Ctrl-C or SIGTERM ends it after clients were sent the ends of their streams.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, starter weights, or a name of the Hub.
    """
    place, doors, options = place or Place(), doors or Doors(), options or StreamOptions()
    place.check()
    doors.check(place.host)
    try:
        from lsn.serving.app import Limits, create_app
        from lsn.serving.publishing import Publisher
        from lsn.serving.pulled.sources import AllowedSources
        from lsn.serving.server import serve as run
        from lsn.serving.states import Snapshots, open_store
        from lsn.serving.videos.jobs import VideoJobs
    except ModuleNotFoundError as error:
        raise ConfigError(f"lsn serve needs {error.name}: pip install 'lsn-video[serve]'") from None
    pull, access = dict(_named(each) for each in place.pull), doors.access(place.host)
    limits, allowed = Limits(place.max_megabytes, place.idle_seconds), AllowedSources(doors.allow_sources)
    console, snapshots = output(), Snapshots(open_store(place.state_store))
    publisher = None if place.publish is None else Publisher(place.publish)
    with nullcontext() if doors.access_log is None else _opened(doors.access_log) as log:
        streams = _live_streams(weights, place, options, snapshots, console)
        if streams is not None and publisher is not None:
            streams.on_event = publisher.take
        jobs = VideoJobs(_video_analyzer(weights, options), max_seconds=place.max_seconds)
        try:
            run(
                create_app(streams, jobs, limits, access, allowed=allowed, pull=pull, log=log),
                streams,
                jobs,
                host=place.host,
                port=place.port,
                on_ready=lambda address: console.print(f"{address}  (open it in a browser; Ctrl-C ends it)"),
                certificate=doors.certificate,
                key=doors.key,
            )
        finally:
            if streams is not None:
                streams.close()
            if publisher is not None:
                publisher.close(CLOSING_SECONDS)


def _live_streams(
    weights: Path, place: Place, options: StreamOptions, snapshots: Snapshots, console: Console
) -> LiveStreams | None:
    """Starts live streams, and says how they are seen; None for a model that cannot watch any."""
    from lsn.inference.runtimes.opening import open_model
    from lsn.serving.streams import LiveStreams

    ready = open_model(weights, options.runtime, device=options.device)
    try:
        predictor, remarks = streaming_predictor(weights, options, capacity=place.streams, ready=ready)
        streams = LiveStreams(predictor, snapshots, snapshot_seconds=place.snapshot_seconds)
    except ModelError as error:
        streams, remarks = None, [f"no live streams: {error}"]
    for remark in remarks:
        console.print(remark, style="dim")
    return streams


def _video_analyzer(weights: Path, options: StreamOptions) -> VideoAnalyzer:
    """For whole videos: events for a model of long videos, the likeliest classes for others."""
    from lsn.inference.predictor import Predictor
    from lsn.inference.runtimes.opening import open_model
    from lsn.serving.videos.analysis import VideoAnalyzer

    ready = open_model(weights, options.runtime, device=options.device)  # of its own, as a runtime serves one thread
    if ready.is_for_long_videos:
        return VideoAnalyzer(streaming_predictor(weights, options, ready=ready)[0])
    return VideoAnalyzer(Predictor(ready, evaluation=run_views(weights)))


def _named(pull: str) -> tuple[str, str]:
    name, is_given, source = pull.partition("=")
    if not is_given or not source:
        raise ConfigError(f"--pull {pull}: expected NAME=SOURCE, such as yard=rtsp://camera.lan/1")
    return name, source


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--access-log {path}: cannot be written ({error.strerror})") from None
