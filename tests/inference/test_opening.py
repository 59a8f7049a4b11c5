"""What runs a trained model: PyTorch or an export, by name or by what a folder holds; and all that does not fit."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from small_recognizer import INPUT, LABELS, noisy_frames
from sum_runtime import SIZE, SUM_LABELS, SumRuntime, write_sum_export

import lsn.inference.runtimes.opening as opening
from lsn.cli import main
from lsn.config import EventRules
from lsn.errors import ConfigError, ModelError, WeightsError
from lsn.evaluation.evaluate import evaluate
from lsn.inference.predictor import Predictor
from lsn.inference.runtimes.opening import open_model
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models.weights import LoadedModel, save_event_rules, save_weights
from lsn.streaming import StreamingPredictor


@pytest.fixture
def weights(tmp_path, model, monkeypatch):
    """A weights folder with an export inside, which a runtime without a library runs."""
    monkeypatch.setitem(opening.GRAPH_RUNTIMES, "onnx", SumRuntime)
    save_weights(tmp_path / "weights", model, labels=LABELS, input=INPUT, metrics={})
    content = (tmp_path / "weights/model.safetensors").read_bytes()
    write_sum_export(tmp_path / "weights/onnx", weights_sha256=hashlib.sha256(content).hexdigest())
    return tmp_path / "weights"


def test_weights_are_run_by_pytorch_and_exports_by_what_they_are_for(weights):
    assert isinstance(open_model(weights).runtime, PyTorchRuntime)
    for ready in (open_model(weights, "onnx"), open_model(weights / "onnx"), open_model(weights / "onnx", "onnx")):
        assert isinstance(ready.runtime, SumRuntime)
        assert ready.labels == SUM_LABELS
        assert open_model(ready) is ready


def test_a_clip_and_a_stream_under_a_graph(weights):
    brightness = np.array([10, 30, 20])
    frames = np.repeat(brightness, SIZE * SIZE * 3).reshape(3, SIZE, SIZE, 3).astype(np.uint8)
    logits_TK = np.stack([brightness.cumsum(), [1, 2, 3]], axis=1)
    odds_TK = np.exp(logits_TK - logits_TK.max(axis=1, keepdims=True))
    prediction = Predictor(weights, runtime="onnx")(frames, fps=10)
    np.testing.assert_allclose(
        prediction.frame_probabilities_TK, odds_TK / odds_TK.sum(axis=1, keepdims=True), rtol=1e-5
    )
    assert prediction.label == "sum"

    predictor = StreamingPredictor(weights / "onnx")
    assert predictor.fps == 10
    stream = predictor.open()
    answers = [answer for t, frame in enumerate(frames) for answer in stream.push(t / 10, frame)]
    answers += stream.finish(0.2)[0]
    found = [answer.frame_probabilities for answer in answers]
    np.testing.assert_allclose(found, prediction.frame_probabilities_TK[: len(found)], atol=1e-6)
    assert len(found) == 3


def test_a_data_set_under_a_graph(weights, manifest):
    known = replace(manifest, labels=SUM_LABELS, clips=tuple(replace(clip, label="seen") for clip in manifest.clips))
    predictor = Predictor(weights, runtime="onnx")
    result = evaluate(predictor.runtime, known, predictor.protocol)
    assert [row.predicted for row in result.rows] == [predictor(row.clip.path).label for row in result.rows]


@pytest.mark.parametrize(
    ("runtime", "device", "error", "said"),
    [
        ("oonx", "auto", ConfigError, "did you mean 'onnx'"),
        ("openvino", "auto", WeightsError, "no export for openvino; write one: lsn export .*weights --to openvino"),
        ("onnx", "cuda", ConfigError, "exported graphs run on the CPU"),
    ],
)
def test_what_cannot_be_run_is_refused(weights, runtime, device, error, said):
    with pytest.raises(error, match=said):
        open_model(weights, runtime, device=device)


def test_starter_weights_have_no_export_inside(weights):
    with pytest.raises(
        WeightsError, match=r"write one, and give its folder: lsn export starter:gestures --to onnx --out FOLDER"
    ):
        open_model("starter:gestures", "onnx")


def test_a_loaded_model_is_run_by_pytorch_alone(model):
    with pytest.raises(ConfigError, match="give the folder instead of a loaded model"):
        Predictor(LoadedModel(model, LABELS, INPUT, {}), runtime="onnx")


def test_an_export_is_not_run_by_pytorch(weights):
    for runtime in ("pytorch", "compiled"):
        with pytest.raises(ConfigError, match=f"onnx: an export; {runtime} runs weights"):
            open_model(weights / "onnx", runtime)


def test_an_export_for_somebody_else(weights):
    path = weights / "onnx/export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target": "torch"}))
    with pytest.raises(ConfigError, match=r"programs of torch\.export are for your own code"):
        open_model(weights / "onnx")
    with pytest.raises(ConfigError, match="an export for torch, not for onnx; export again with --to onnx"):
        open_model(weights, "onnx")


def test_an_export_of_other_weights(weights, model):
    save_weights(weights, model, labels=[*LABELS[:-1], "else"], input=INPUT, metrics={})
    open_model(weights, "onnx")  # the tensors are the same
    tensors = weights / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes() + b" ")
    with pytest.raises(WeightsError, match=r"was exported from other weights than .*model\.safetensors; delete"):
        open_model(weights, "onnx")


def test_rules_of_events_that_were_fitted_since(weights):
    save_event_rules(weights, EventRules(on_threshold=0.9))
    with pytest.raises(WeightsError, match=r"the rules of events in .*config\.json are others; delete"):
        open_model(weights, "onnx")


def test_a_library_that_is_not_installed(weights, monkeypatch):
    monkeypatch.setattr(SumRuntime, "library", "no_such_library")
    with pytest.raises(ConfigError, match=r"no_such_library is not installed .*pip install 'lsn-video\[export\]'"):
        open_model(weights, "onnx")


def test_commands_take_a_runtime(weights, videos, capsys):
    assert main(["predict", str(weights), str(videos / "3.mp4"), "--runtime", "onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "sum"
    assert main(["predict", str(weights / "onnx"), str(videos / "3.mp4"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "sum"
    assert main(["stream", str(weights), str(videos / "6.mp4"), "--runtime", "onnx", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["ended_seconds"] > 0
    assert main(["bench", "lsn_test_resnet", "--runtime", "onnx"]) == 2
    assert "give the weights folder instead of a name" in capsys.readouterr().err


def test_the_folder_of_an_export_holds_all_that_commands_need(weights, manifest, tmp_path, capsys):
    folder = str(weights / "onnx")
    rows = [f"{clip.path},seen" for clip in manifest.clips]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label", *rows]))
    assert main(["evaluate", folder, str(tmp_path / "clips.csv"), "--workers", "0"]) == 0
    assert "3x2x1 frames x clips x crops" in capsys.readouterr().out  # as the run validated
    assert main(["stream", folder, manifest.clips[5].path]) == 0
    assert "events start at 0.80 (95% of the right answers of its validation do)" in capsys.readouterr().out
    assert main(["evaluate", folder, str(tmp_path / "clips.csv"), "--timelines", "--fit"]) == 2
    assert "fit those of the weights, and export them again" in capsys.readouterr().err


def test_a_graph_that_gives_no_numbers(weights):
    white = np.full((3, SIZE, SIZE, 3), 255, np.uint8)
    stream = StreamingPredictor(weights, runtime="onnx").open()
    with pytest.raises(ModelError, match="not finite"):
        [answer for t, frame in enumerate(white) for answer in stream.push(t / 10, frame)]


def test_pytorch_is_as_it_was(weights, model):
    frames = noisy_frames(3, num_frames=4)
    loaded = LoadedModel(model, LABELS, INPUT, {})
    by_folder, by_model = (Predictor(each, device="cpu")(frames, fps=4) for each in (weights, loaded))
    np.testing.assert_array_equal(by_folder.probabilities, by_model.probabilities)
