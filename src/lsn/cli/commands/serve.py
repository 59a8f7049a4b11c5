"""`lsn serve`: a trained model as a service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lsn.cli.options.stream import StreamOptions, streaming_predictor
from lsn.cli.options.weights import run_views
from lsn.cli.ui.console import output
from lsn.errors import ConfigError, ModelError
from lsn.video.frame_sampler import check_above_zero


@dataclass(frozen=True)
class Place:
    """Where clients find the server, and how much it takes."""

    host: str = "127.0.0.1"
    """Address of this machine; others than loopback need --insecure."""
    port: int = 8000
    """0 takes a free one."""
    streams: int = 8
    """Live streams at the same time, at most."""
    max_megabytes: int = 512
    """Of a video that is sent."""
    idle_seconds: float = 60.0
    """A stream ends when no frame comes for so long."""
    state_store: str | None = None
    """Folder, or redis://HOST:PORT: live streams go on after the death of a process, here or on another server."""
    snapshot_seconds: float = 5.0
    """Between two snapshots of a stream."""
    names: tuple[str, ...] = ()
    """Names that browsers know the server by, if a proxy stands before it."""
    insecure: bool = False
    """Let everybody in who reaches the address."""


def serve(
    weights: Path,
    /,
    *,
    place: Annotated[Place | None, Parameter(name="*")] = None,
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
    place, options = place or Place(), options or StreamOptions()
    check_above_zero(idle_seconds=place.idle_seconds, snapshot_seconds=place.snapshot_seconds)
    try:
        from lsn.serving.app import Answers, Limits
        from lsn.serving.server import LOOPBACK
        from lsn.serving.server import serve as run
        from lsn.serving.states import Snapshots, open_store
        from lsn.serving.streams import LiveStreams
    except ModuleNotFoundError as error:
        raise ConfigError(f"lsn serve needs {error.name}: pip install 'lsn-video[serve]'") from None
    if place.host not in LOOPBACK and not place.insecure:
        raise ConfigError(
            f"--host {place.host}: everybody who reaches it could use the server; add --insecure if that is meant, or "
            "put a proxy that asks for a password before 127.0.0.1"
        )
    from lsn.inference.predictor import Predictor
    from lsn.inference.runtimes.opening import open_model

    ready, streams = open_model(weights, options.runtime, device=options.device), None
    console = output()
    try:
        predictor, remarks = streaming_predictor(weights, options, capacity=place.streams, ready=ready)
        snapshots = Snapshots(open_store(place.state_store))
        streams = LiveStreams(predictor, snapshots, snapshot_seconds=place.snapshot_seconds)
    except ModelError as error:
        remarks = [f"no live streams: {error}"]
    for remark in remarks:
        console.print(remark, style="dim")
    ready = open_model(weights, options.runtime, device=options.device)  # a runtime serves one thread
    if ready.runtime.network.multi_label or (ready.events is not None and ready.events.of_long_videos):
        answers = Answers(streaming_predictor(weights, options, ready=ready)[0])
    else:
        answers = Answers(Predictor(ready, evaluation=run_views(weights)))
    hosts = (*LOOPBACK, *place.names) if place.host in LOOPBACK else None
    try:
        run(
            streams,
            answers,
            Limits(place.max_megabytes, place.idle_seconds, hosts),
            host=place.host,
            port=place.port,
            on_ready=lambda address: console.print(f"{address}  (described in {address}/openapi.json; Ctrl-C ends it)"),
        )
    finally:
        if streams is not None:
            streams.close()
