"""The small network and its videos, as fixtures."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from small_recognizer import INPUT, LABELS, RATES, lively_model, noisy_frames

from lsn.data import Manifest, read_manifest
from lsn.models import Recognizer
from lsn.models.weights import LoadedModel
from lsn.video import write_video


@pytest.fixture(scope="session")
def model() -> Recognizer:
    return lively_model()


@pytest.fixture(scope="session")
def loaded(model) -> LoadedModel:
    return LoadedModel(model, LABELS, INPUT, {})


@pytest.fixture(scope="module")
def rated() -> LoadedModel:
    """A model that keeps the frame rates of its training clips."""
    return LoadedModel(lively_model(), LABELS, INPUT, {}, RATES)


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """A folder with val.csv of 7 videos; `broken.csv` has two more that cannot be read. Nothing spins."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for number in range(7):
        write_video(folder / f"{number}.mp4", noisy_frames(number, num_frames=3 + 2 * number), fps=10)
        rows.append(f"{number}.mp4,{LABELS[number % 5]}")
    (folder / "empty.mp4").touch()
    (folder / "val.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    broken = ["path,label", *rows[:3], "empty.mp4,left", *rows[3:], "missing.mp4,up"]
    (folder / "broken.csv").write_text("\n".join(broken) + "\n")
    return folder


@pytest.fixture(scope="session")
def manifest(videos) -> Manifest:
    return read_manifest(videos / "val.csv", labels=LABELS)


@pytest.fixture(scope="session")
def broken_manifest(videos) -> Manifest:
    return read_manifest(videos / "broken.csv", labels=LABELS)


@pytest.fixture
def graphs_without_code(monkeypatch) -> Iterator[None]:
    """PyTorch's compiler makes its graphs, at least one in the test, but no code of them: seconds, not minutes."""
    graphs = []

    def aot_eager(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=aot_eager))
    yield
    torch.compiler.reset()
    assert graphs
