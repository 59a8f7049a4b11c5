"""Exported graphs give PyTorch's numbers, and nothing is left of those that do not."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from small_recognizer import INPUT, LABELS, RATES, lively_model

import lsn
from lsn.cli.app import main
from lsn.config import EventRules
from lsn.errors import ConfigError, ModelError, WeightsError
from lsn.export import proof, trace
from lsn.export.export import export_weights
from lsn.inference.runtimes.description import read_description
from lsn.inference.runtimes.onnx import OnnxRuntime
from lsn.inference.runtimes.opening import open_model
from lsn.inference.runtimes.openvino import OpenVinoRuntime
from lsn.models.memory.plain_recurrence import plain_recurrence
from lsn.models.weights import load_weights, save_weights
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline import make_timeline

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
pytestmark = pytest.mark.slow  # PyTorch's exporter takes seconds for each graph

SIZE = INPUT.size


def write_weights(folder: Path, name: str = "lsn_resnet10t", **options) -> Path:
    model = lively_model(name, **options)
    save_weights(folder, model, labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES)
    return folder


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def expected_logits(weights: Path, clips_BTCHW: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return load_weights(weights).model.forward_frames(torch.from_numpy(clips_BTCHW)).numpy()


def test_an_onnx_export(tmp_path, monkeypatch, manifest, videos, capsys):
    weights = write_weights(tmp_path / "weights")
    exported, description = export_weights(weights, "onnx")
    assert read_description(exported) == description
    check_onnx_runtime_alone(weights, exported)
    check_clips(weights, exported)
    check_events_where_little_is_installed(weights, exported, videos / "6.mp4")
    check_commands(weights, manifest.source, videos, tmp_path / "timeline", capsys)
    check_bad_input(weights, exported, monkeypatch)


def check_onnx_runtime_alone(weights: Path, exported: Path) -> None:
    """Streams with what the description says."""
    about = json.loads((exported / "export.json").read_text())
    session = onnxruntime.InferenceSession(exported / about["step"]["file"], providers=["CPUExecutionProvider"])
    states = {state["input"]: np.zeros((2, *state["shape"]), state["dtype"]) for state in about["states"]}
    assert [state["input"] for state in about["states"]] == sorted(states)
    clips_BTCHW, found = noise(2, 9, 3, SIZE, SIZE), []
    for t in range(9):
        names = ["logits", *(state["output"] for state in about["states"])]
        logits, *after = session.run(names, {"frames": clips_BTCHW[:, t], **states})
        states = dict(zip(states, after, strict=True))
        found.append(logits)
    expected = expected_logits(weights, clips_BTCHW)
    np.testing.assert_allclose(np.stack(found, axis=1), expected, atol=1e-4 * np.abs(expected).max())
    assert about["labels"] == list(LABELS)
    assert all(0 < line["difference"] <= line["limit"] == 1e-4 for line in about["proof"])
    assert len(about["proof"]) == 10


def check_clips(weights: Path, exported: Path) -> None:
    for num_frames in (1, 4, 7):
        clips_BTCHW = noise(3, num_frames, 3, SIZE, SIZE)
        expected = expected_logits(weights, clips_BTCHW)
        found = OnnxRuntime(exported, num_threads=1).forward_frames(clips_BTCHW)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("lsn_resnet10t", "torch", {"order": 2, "steps": 4, "memory_stages": (3,)}),
        ("lsn_ss_resnet10t", "onnx", {"shift": "causal", "memory_stages": (3,)}),
        ("convlstm_resnet10t", "onnx", {"frame_differences": True, "memory_stages": (3,)}),
        ("gru_resnet10t", "openvino", {"memory_stages": (3,)}),
    ],
)
def test_every_memory_in_a_format(tmp_path, monkeypatch, name, target, options):
    monkeypatch.setattr(proof, "MANY_STEPS", 50)  # the test of an ONNX export has all
    weights = write_weights(tmp_path / "weights", name, **options)
    folder, description = export_weights(weights, target)
    assert read_description(folder) == description
    assert len(description.proof) == (11 if target == "openvino" else 10)
    assert all(line.difference <= 1e-4 for line in description.proof)
    for path in folder.iterdir():
        assert str(Path(lsn.__file__).parent).encode() not in path.read_bytes(), path
    if target == "torch":
        check_program(folder, weights)
    if target == "openvino":
        check_stateful(folder, weights)
        check_compiled_graphs_are_kept(folder, monkeypatch)
        check_signals_after_a_graph_is_freed(folder)


def check_program(folder: Path, weights: Path) -> None:
    """A step of torch.export in a process that has neither LSN nor timm."""
    frames = noise(2, 3, SIZE, SIZE)
    np.save(folder / "frames.npy", frames)
    code = f"""
    import json, sys
    sys.modules["lsn"] = sys.modules["timm"] = None
    import numpy as np, torch
    about = json.load(open({str(folder / "export.json")!r}))
    step = torch.export.load({str(folder / "step.pt2")!r}).module()
    tensors = {{s["input"]: torch.zeros(2, *s["shape"], dtype=getattr(torch, s["dtype"])) for s in about["states"]}}
    found = step({{"frames": torch.from_numpy(np.load({str(folder / "frames.npy")!r})), **tensors}})
    print(json.dumps(found["logits"].tolist()))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    expected = expected_logits(weights, frames[:, None])[:, 0]
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4 * np.abs(expected).max())


def check_stateful(folder: Path, weights: Path) -> None:
    """OpenVINO's graph with the state inside; every stream begins with an empty state."""
    runtime, clip_TCHW = OpenVinoRuntime(folder), noise(6, 3, SIZE, SIZE)
    expected = expected_logits(weights, clip_TCHW[None])[0]
    for _ in range(2):
        np.testing.assert_allclose(runtime.stream(clip_TCHW), expected, atol=1e-4 * np.abs(expected).max())


def check_compiled_graphs_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later process takes what OpenVINO compiled before; damage or no folder to write to costs time alone."""
    clips_BTCHW, cache = noise(1, 4, 3, SIZE, SIZE), folder.parent / "cache"
    expected = OpenVinoRuntime(folder).forward_frames(clips_BTCHW)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for damaged in (False, True):
        assert (open_model(folder).runtime.forward_frames(clips_BTCHW) == expected).all()
        (blob,) = (cache / "lsn/openvino").glob("*.blob")
        if not damaged:
            blob.chmod(0o600)
            blob.write_bytes(blob.read_bytes()[:1000])
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    assert (open_model(folder).runtime.forward_frames(clips_BTCHW) == expected).all()


def check_signals_after_a_graph_is_freed(folder: Path) -> None:
    """A signal finds its stack although another thread than the one that loaded OpenVINO frees the last graph."""
    code = f"""
    import faulthandler, signal, threading
    import numpy as np
    from lsn.inference.runtimes.openvino import OpenVinoRuntime
    faulthandler.enable()  # gives signals a stack, as test runners do
    signal.signal(signal.SIGTERM, lambda *_: print("handled"))
    runtimes = [OpenVinoRuntime({str(folder)!r})]
    runtimes[0].forward_frames(np.zeros((1, 2, 3, {SIZE}, {SIZE}), np.uint8))
    thread = threading.Thread(target=runtimes.clear)
    thread.start(), thread.join()
    signal.raise_signal(signal.SIGTERM)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_a_model_that_looks_ahead_answers_clips_alone(tmp_path, capsys):
    weights, folder = write_weights(tmp_path / "weights", "lsn_ss_resnet10t", memory_stages=(3,)), tmp_path / "clips"
    command = ["export", str(weights), "--to", "onnx", "--out", str(folder)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "clips, 8 at a time" in shown and "clip.onnx, described in export.json" in shown
    assert main(command) == 2
    assert "exists; delete it" in capsys.readouterr().err
    description = read_description(folder)
    assert (description.step, description.states) == (None, ())
    runtime, clips_BTCHW = OnnxRuntime(folder), noise(2, 4, 3, SIZE, SIZE)
    expected = expected_logits(weights, clips_BTCHW)
    np.testing.assert_allclose(runtime.forward_frames(clips_BTCHW), expected, atol=1e-4 * np.abs(expected).max())
    with pytest.raises(ModelError, match="clips of 5 frames; lsn_ss_resnet10t was exported for 4"):
        runtime.forward_frames(noise(1, 5, 3, SIZE, SIZE))
    with pytest.raises(ModelError, match="cannot stream"):
        runtime.allocate(1)


def test_a_graph_with_other_numbers_is_not_left_behind(tmp_path_factory, tmp_path, monkeypatch):
    weights = write_weights(tmp_path_factory.mktemp("small") / "weights", memory_stages=(3,))
    monkeypatch.setattr(proof, "MANY_STEPS", 10)

    def forgetful(gates_BTGHW, past_BPHW, cell_BDHW, *others):
        return plain_recurrence(gates_BTGHW, past_BPHW, cell_BDHW * 0.9, *others)

    monkeypatch.setattr(trace, "plain_recurrence", forgetful)
    with pytest.raises(ModelError, match=r"other numbers than PyTorch \(.*steps of 1 streams.*nothing was written"):
        export_weights(weights, "onnx", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def check_bad_input(weights: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="exists; delete it"):
        export_weights(weights, "onnx")
    with pytest.raises(ConfigError, match="say where the export goes"):
        export_weights("starter:gestures", "onnx")
    runtime = OnnxRuntime(exported)
    for clips in (noise(1, 4, 3, SIZE, SIZE).astype(np.float32), noise(4, 3, SIZE, SIZE), noise(1, 4, 3, 8, 8)):
        with pytest.raises(ModelError, match=r"expected uint8 \(batch, frames, 3, 32, 32\)"):
            runtime.forward_frames(clips)
    with pytest.raises(ConfigError, match="an export for onnx, not for openvino; export again with --to openvino"):
        OpenVinoRuntime(exported)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime is not installed .*pip install 'lsn-video\[export\]'"):
        OnnxRuntime(exported)


NUMBER = r"\d+(?:\.\d+)?"
INSTALLED = ("av", "numpy", "onnxruntime", "PIL", "yaml", "safetensors", "simplejpeg")
"""What examples/without_torch.py says that a machine needs."""


def check_events_where_little_is_installed(weights: Path, exported: Path, video: Path) -> None:
    """The events and probabilities of a video are PyTorch's."""
    rules = EventRules(on_threshold=0.1, off_threshold=0.05, min_seconds=0.0)
    code = f"""
    import json, sys

    class Little:
        def find_spec(name, path=None, target=None):
            if name.partition(".")[0] not in ({INSTALLED!r} + ("lsn", "lsn_video", *sys.stdlib_module_names)):
                raise ModuleNotFoundError(name + " is not installed")

    sys.meta_path.insert(0, Little)
    from lsn.config import EventRules
    from lsn.streaming import StreamingPredictor
    from lsn.streaming.timeline import make_timeline
    found = make_timeline(StreamingPredictor({str(exported)!r}, events={rules!r}), {str(video)!r})
    events = [[event.label, event.start_seconds, event.end_seconds] for event in found.events]
    print(json.dumps([events, found.track.probabilities_TK.tolist()]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    events, probabilities_TK = json.loads(done.stdout)
    expected = make_timeline(StreamingPredictor(weights, device="cpu", events=rules), video)
    assert events == [[event.label, event.start_seconds, event.end_seconds] for event in expected.events]
    assert events
    np.testing.assert_allclose(probabilities_TK, expected.track.probabilities_TK, atol=1e-4)


def check_commands(weights: Path, manifest: str, videos: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that takes a runtime, under the export and under PyTorch."""
    video = str(videos / "6.mp4")
    capsys.readouterr()

    def shown(*command: str) -> str:
        assert main([*command]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    for options in ([], ["--anytime"]):
        command = ["evaluate", str(weights), manifest, "--workers", "0", *options]
        graph, torch_ = (shown(*command, *o) for o in (["--runtime", "onnx"], ["--device", "cpu"]))
        assert re.sub(NUMBER, "", graph) == re.sub(NUMBER, "", torch_)
        np.testing.assert_allclose(
            *([float(n) for n in re.findall(NUMBER, text)] for text in (graph, torch_)), rtol=1e-3
        )
    answers = [json.loads(shown("predict", str(weights), video, "--json", *o)) for o in ([], ["--runtime", "onnx"])]
    np.testing.assert_allclose(*(answer["frame_probabilities"] for answer in answers), atol=1e-4)
    command = ["timeline", str(weights), video, "--runtime", "onnx", "--out", str(out)]
    shown(*command)
    assert (out / "events.jsonl").is_file()
    assert "FAIL" not in shown("verify", str(weights), "--num-frames", "8", "--runtime", "onnx")
    parts = shown("bench", str(weights), video, "--runtime", "onnx", "--seconds", "0.1", "--json")
    assert [figure["part"] for figure in json.loads(parts)["figures"]] == ["test", "stream", "decode", "transform"]
