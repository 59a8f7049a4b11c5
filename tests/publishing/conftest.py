import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hub_server import Hub
from hub_user import HubUser
from small_recognizer import INPUT, LABELS, RATES, lively_model
from warm_server import WarmServer

from lsn.config import EvaluationConfig
from lsn.data import read_manifest
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.inference.runtimes.opening import open_model
from lsn.models.weights import save_weights


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture(scope="module")
def warm_server() -> Iterator[WarmServer]:
    with WarmServer("lsn.inference.predictor", "lsn.publishing.push", "lsn.cli.app") as server:
        yield server


@pytest.fixture
def user(warm_server, hub, tmp_path) -> HubUser:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return HubUser(warm_server, hub.url, folder)


@pytest.fixture
def run_folder(finished_run, tmp_path) -> Path:
    """A copy of the run."""
    return shutil.copytree(finished_run, tmp_path / "private place" / "run")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, videos) -> Path:
    """A run: weights, recipe and validation, with two wrong answers at least."""
    folder = tmp_path_factory.mktemp("private place")
    save_weights(folder, lively_model(), labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES)
    recipe = {
        "model": {
            "name": "lsn_resnet10t",
            "backbone_weights": str(folder.parent / "private place" / "cnn.safetensors"),
        },
        "data": {"train": str(videos / "val.csv"), "val": str(videos / "val.csv")},
        "evaluation": {"num_clips": 2},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    ready = open_model(folder, device="cpu")
    protocol = EvaluationProtocol.of(ready.runtime.network, INPUT, EvaluationConfig())
    result = evaluate(ready.runtime, read_manifest(videos / "val.csv", labels=LABELS), protocol, num_workers=0)
    result.save(folder)
    metrics = asdict(result.metrics) | {"epoch": 3, "temperature": 1.5}
    save_weights(folder, lively_model(), labels=LABELS, input=INPUT, metrics=metrics, frame_rates=RATES)
    return folder
