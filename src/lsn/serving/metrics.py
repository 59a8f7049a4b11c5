"""What a server counts and measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lsn.streaming import StreamPrediction
from lsn.streaming.prediction import StreamEnd

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STREAMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "LIVE")


class Metrics:
    """Counters and histograms of one server. Their labels are few: routes, statuses, and the labels of the model.

    Args:
        count_streams: how many live streams there are, and how many there is room for.
    """

    def __init__(self, count_streams: Callable[[], tuple[int, int]]) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "lsn_requests_total", "Requests; LIVE are WebSockets", ["method", "route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "lsn_request_seconds",
            "From a request to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        streams = Gauge("lsn_streams", "Live streams that run", registry=registry)
        streams.set_function(lambda: count_streams()[0])
        slots = Gauge("lsn_stream_slots", "Live streams that there is room for", registry=registry)
        slots.set_function(lambda: count_streams()[1])
        self._opened = Counter("lsn_streams_opened_total", "Live streams that began", registry=registry)
        self._failed = Counter("lsn_streams_failed_total", "Live streams that an error ended", registry=registry)
        self._answers = Counter("lsn_answers_total", "Answers to live streams", registry=registry)
        self._dropped = Counter("lsn_frames_dropped_total", "Frames that there was no time for", registry=registry)
        self._events = Counter("lsn_events_total", "Events that began", ["label"], registry=registry)
        self._age = Histogram(
            "lsn_answer_seconds", "From the arrival of a frame to its answer", buckets=SECONDS, registry=registry
        )
        self._step = Histogram(
            "lsn_step_seconds", "The step of the model that made an answer", buckets=SECONDS, registry=registry
        )
        self._batch = Histogram(
            "lsn_batch_streams", "Streams in the batch of an answer", buckets=STREAMS, registry=registry
        )
        self._snapshots = Counter("lsn_snapshots_total", "Snapshots of streams", ["outcome"], registry=registry)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered; status 0 is one whose client has left before."""
        self._requests.labels(method if method in _METHODS else "other", route, status or "left").inc()
        if method != "LIVE":
            self._request_seconds.labels(route).observe(seconds)

    def count_opened(self) -> None:
        """A live stream has begun."""
        self._opened.inc()

    def count(self, result: StreamPrediction | StreamEnd, *, num_dropped: int, age_seconds: float | None) -> None:
        """Something was reported of a live stream.

        Args:
            result: what it was.
            num_dropped: frames of it that were dropped since the last time.
            age_seconds: since the frame came that is answered, if that is known.
        """
        self._dropped.inc(num_dropped)
        if isinstance(result, StreamEnd):
            self._failed.inc(result.error is not None)
            return
        self._answers.inc()
        self._step.observe(result.timings_ms["model"] / 1000)
        self._batch.observe(result.batch_size)
        if age_seconds is not None:
            self._age.observe(age_seconds)
        for report in result.events:
            if report.kind == "new":
                self._events.labels(report.event.label).inc()

    def count_snapshot(self, is_kept: bool) -> None:
        """A store has taken a snapshot, or failed to."""
        self._snapshots.labels("kept" if is_kept else "failed").inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
