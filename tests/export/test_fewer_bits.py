"""Exports in float16 and int8: smaller, measured, and refused where they lose too much."""

import numpy as np
import pytest
from small_recognizer import INPUT, lively_model

from lsn.cli.app import main
from lsn.errors import ConfigError, ModelError
from lsn.export import proof
from lsn.export.export import Measure, Reduction, export_weights
from lsn.inference.predictor import Predictor
from lsn.inference.runtimes.description import read_description
from lsn.inference.runtimes.onnx import OnnxRuntime
from lsn.models.weights import load_weights

CLIPS = [np.zeros((4, 3, INPUT.size, INPUT.size), np.uint8)]


@pytest.mark.parametrize(
    ("target", "reduction", "said"),
    [
        ("onnx", Reduction("int8"), r"int8 needs clips .* give some with --calibrate"),
        ("onnx", Reduction("fp16", CLIPS), r"--calibrate is for --precision int8"),
        ("torch", Reduction("fp16"), r"--precision fp16 is for onnx and openvino"),
        ("onnx", Reduction(max_drop=1.5), r"150 points that may be lost \(--max-drop\); it must be 0 to 100"),
    ],
)
def test_what_does_not_go_together_is_refused(weights, target, reduction, said):
    with pytest.raises(ConfigError, match=said):
        export_weights(weights, target, reduction=reduction)


def test_int8_is_calibrated_and_measured(weights, manifest, capsys):
    command = ["export", str(weights), "--to", "onnx", "--precision", "int8"]
    assert main(command) == 2
    assert "give some with --calibrate" in capsys.readouterr().err
    assert main([*command, "--calibrate", manifest.source]) == 2
    assert "measure int8 on some --data" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("target", "precision"), [("onnx", "fp16"), ("onnx", "int8"), ("openvino", "int8")])
def test_fewer_bits(request, weights, manifest, videos, monkeypatch, capsys, target, precision):
    pytest.importorskip(f"{target}runtime" if target == "onnx" else target)
    if precision == "int8":
        pytest.importorskip("nncf")
    if target == "onnx":
        request.getfixturevalue("traced_before")
    monkeypatch.setattr(proof, "MANY_STEPS", 20)
    command = ["export", str(weights), "--to", target, "--precision", precision, "--max-drop", "100"]
    calibrate = ["--calibrate", manifest.source] if precision == "int8" else []
    assert main([*command, *calibrate, "--data", manifest.source]) == 0, capsys.readouterr().err
    shown = " ".join(capsys.readouterr().out.split())
    folder = weights / f"{target}-{precision}"
    assert "with PyTorch, " in shown and f"in {precision}" in shown
    about = read_description(folder)
    assert about.precision == precision
    assert about.accuracy.metric == "top-1" and about.accuracy.data == manifest.source
    size = sum(path.stat().st_size for path in folder.glob("step*"))
    assert size < (0.75 if target == "onnx" else 1.5) * (weights / "model.safetensors").stat().st_size
    few, all_bits = Predictor(folder)(videos / "6.mp4"), Predictor(weights, device="cpu")(videos / "6.mp4")
    difference = np.abs(few.probabilities - all_bits.probabilities).max()
    assert 0 < difference < (0.01 if precision == "fp16" else 0.3)


@pytest.mark.slow
def test_an_accuracy_that_falls_too_far_leaves_nothing(write_weights, tmp_path_factory, tmp_path):
    pytest.importorskip("onnxruntime")
    weights = write_weights(tmp_path_factory.mktemp("clips"), "tsm_test_resnet")  # one graph: it looks ahead

    def right_in_pytorch(ready):
        return 0.5 if isinstance(ready.runtime, OnnxRuntime) else 0.9

    measure = Measure("top-1", "val.csv", right_in_pytorch)
    with pytest.raises(ModelError, match=r"top-1 on val\.csv falls from 90\.0% to 50\.0%; 1 points may be lost"):
        export_weights(weights, "onnx", out=tmp_path / "out", reduction=Reduction("fp16"), measure=measure)
    assert list(tmp_path.iterdir()) == []


def test_the_stem_is_what_sees_the_frame(weights):
    assert load_weights(weights).model.num_stem_convolutions == 3  # a deep stem
    assert lively_model("lsn_resnet18").num_stem_convolutions == 1
