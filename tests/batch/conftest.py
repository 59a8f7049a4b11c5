"""Models of both kinds, and a batch whose workers are in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from small_recognizer import INPUT, LABELS, RATES, lively_model, noisy_frames

pytest.importorskip("ray")

from lsn.batch import BatchModel
from lsn.batch.reading import Setup
from lsn.config import EventRules
from lsn.inference.predictor import Predictor
from lsn.models.weights import save_weights
from lsn.streaming import StreamingPredictor
from lsn.video import write_video

EVENTS = EventRules(on_threshold=0.3, off_threshold=0.25, min_seconds=0.1, background="stay")


@pytest.fixture(scope="session")
def clip_weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    save_weights(folder, lively_model(), labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES)
    return folder


@pytest.fixture(scope="session")
def long_weights(tmp_path_factory) -> Path:
    """Of a model of long videos, which has events."""
    folder = tmp_path_factory.mktemp("long")
    save_weights(folder, lively_model(), labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES, events=EVENTS)
    return folder


@pytest.fixture(scope="session")
def clip_predictor(clip_weights) -> Predictor:
    return Predictor(clip_weights)


@pytest.fixture(scope="session")
def long_predictor(long_weights) -> StreamingPredictor:
    return StreamingPredictor(long_weights)


@pytest.fixture(scope="session")
def clip_model(clip_predictor, clip_weights) -> BatchModel:
    return BatchModel.of(clip_predictor, str(clip_weights))


@pytest.fixture(scope="session")
def long_model(long_predictor, long_weights) -> BatchModel:
    return BatchModel.of(long_predictor, str(long_weights))


@pytest.fixture
def archive(tmp_path) -> Path:
    """Five sound videos, one of them of 12 seconds and one a copy, and three that are none."""
    folder = tmp_path / "archive"
    for number, name in enumerate(("a.mp4", "b.mp4", "deeper/c.mp4")):
        write_video(folder / name, noisy_frames(number, num_frames=9 + number), fps=10)
    write_video(folder / "long.mp4", noisy_frames(9, num_frames=120), fps=10)
    (folder / "copy.mp4").write_bytes((folder / "a.mp4").read_bytes())
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    (folder / "torn.mp4").write_bytes((folder / "long.mp4").read_bytes()[:3000])
    (folder / "notes.txt").write_text("left out")
    return folder


class Here:
    """In place of Ray: one worker, in this process."""

    num_workers = 1
    stop_after: int | None = None
    """Of the rows of a pass, after which everything is killed."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def run(
        self,
        jobs: list[list[Any]],
        read: Callable[..., Any],
        model: type | None,
        setup: Setup,
        *,
        in_order: bool = False,
    ) -> Iterator[Any]:
        answer = (lambda row: row) if model is None else model(setup)
        items = [item for job in jobs for item in job]
        for number, item in enumerate(items):
            if model is not None and number == self.stop_after:
                raise KeyboardInterrupt
            yield answer(read(item, setup))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


@pytest.fixture
def here(monkeypatch) -> type[Here]:
    """Workers in this process; its fields can be set."""
    local = type("Here", (Here,), {})
    monkeypatch.setattr("lsn.batch.run.Cluster", local)
    return local
