"""Streams that come and go while others run."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lsn.errors import ConfigError, VideoError
from lsn.streaming import StreamingPredictor, StreamPrediction
from lsn.streaming.prediction import StreamEnd
from lsn.streaming.runner import StreamRunner
from lsn.video.live.source import LiveFrame, LiveSource


class Camera(LiveSource):
    """Gives frames, and then nothing until it is closed."""

    name, is_live, end_seconds = "camera", True, 0.3

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[LiveFrame]:
        for number in range(3):
            yield LiveFrame(number / 10, lambda: np.full((40, 56, 3), 90, np.uint8))
        self.closed.wait()

    def close(self) -> None:
        self.closed.set()


class Background:
    """A runner that another thread iterates, as a server does; ended streams are released."""

    def __init__(self, predictor: StreamingPredictor, **options) -> None:
        self.runner = StreamRunner(predictor, {}, waits_for_more=True, **options)
        self.results: list[StreamPrediction | StreamEnd] = []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for result in self.runner:
            if isinstance(result, StreamEnd):
                self.runner.release(result.stream)
            with self.changed:
                self.results.append(result)
                self.changed.notify_all()

    def wait_for(self, name: str, kind: type, number: int = 1) -> list:
        def found() -> list:
            return [each for each in self.results if isinstance(each, kind) and each.stream == name]

        with self.changed:
            assert self.changed.wait_for(lambda: len(found()) >= number, timeout=60)
            return found()

    def __enter__(self) -> "Background":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.runner.stop()
        self.thread.join()
        self.runner.close()


def alone(predictor: StreamingPredictor, video: Path) -> list[StreamPrediction]:
    with StreamRunner(predictor, {"alone": video}) as runner:
        return [result for result in runner if isinstance(result, StreamPrediction)]


@pytest.mark.parametrize("batch_seconds", [0.0, 0.05])
def test_streams_that_are_added_are_answered_as_if_they_were_alone(rated, videos, batch_seconds):
    expected = alone(StreamingPredictor(rated), videos / "6.mp4")
    with Background(StreamingPredictor(rated, capacity=2), batch_seconds=batch_seconds) as background:
        camera = Camera()
        background.runner.add("camera", lambda: camera).result(timeout=60)
        background.wait_for("camera", StreamPrediction, 2)
        for _ in range(2):  # the second one gets the slot and the name of the first
            background.results.clear()
            background.runner.add("file", videos / "6.mp4").result(timeout=60)
            (end,) = background.wait_for("file", StreamEnd)
            assert end.error is None
            found = background.wait_for("file", StreamPrediction, len(expected))
            assert [each.seconds for each in found] == [each.seconds for each in expected]
            for mine, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(mine.probabilities, theirs.probabilities, atol=1e-5)
        background.runner.leave("camera").result(timeout=60)
        (end,) = background.wait_for("camera", StreamEnd)
        assert end.error is None
        assert camera.closed.is_set()


def test_what_cannot_be_added_disturbs_nobody(rated, videos):
    with Background(StreamingPredictor(rated, capacity=1)) as background:
        background.runner.add("a", lambda: Camera()).result(timeout=60)
        for name, expected in (("a", "there is a stream 'a' already"), ("b", "all 1 slots are in use")):
            with pytest.raises(ConfigError, match=expected):
                background.runner.add(name, videos / "6.mp4").result(timeout=60)
        with pytest.raises(ConfigError, match="no stream 'b'"):
            background.runner.leave("b").result(timeout=60)
        with pytest.raises(ConfigError, match="no stream 'a'"):  # it has not ended
            background.runner.between_steps(lambda: background.runner.release("a")).result(timeout=60)
        background.runner.leave("a").result(timeout=60)
        background.wait_for("a", StreamEnd)
        background.runner.add("missing", videos / "no.mp4").result(timeout=60)
        (end,) = background.wait_for("missing", StreamEnd)
        assert isinstance(end.error, VideoError)
    with pytest.raises(ConfigError, match="the streams have ended"):
        background.runner.add("late", videos / "6.mp4").result(timeout=60)
