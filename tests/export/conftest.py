"""Weights and their ONNX export, which PyTorch's exporter takes long for, once for all tests of this folder."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_recognizer import INPUT, LABELS, RATES, lively_model

from lsn.export import export
from lsn.export.export import export_weights
from lsn.inference.runtimes.description import ExportDescription
from lsn.models.weights import save_weights


@pytest.fixture(scope="session")
def write_weights() -> Callable[..., Path]:
    """Writes the weights of a small network."""

    def write(folder: Path, name: str = "lsn_resnet10t", **options: object) -> Path:
        save_weights(folder, lively_model(name, **options), labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES)
        return folder

    return write


@pytest.fixture(scope="session")
def weights(write_weights, tmp_path_factory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"), memory_stages=(3,))


@pytest.fixture(scope="session")
def exported(weights) -> tuple[Path, ExportDescription]:
    """The weights as ONNX, with the whole proof."""
    pytest.importorskip("onnxruntime")
    return export_weights(weights, "onnx")


@pytest.fixture
def traced_before(exported, monkeypatch) -> None:
    """Further exports of the weights to ONNX take the graphs that the exporter has written for `exported`."""
    folder, description = exported

    def copy_graphs(weights, loaded, target, out):
        assert (target, loaded.labels) == ("onnx", description.labels)
        for graph in (description.clip, description.step):
            shutil.copy(folder / graph.file, out)
        return replace(description, proof=())

    monkeypatch.setattr(export, "write_graphs", copy_graphs)
