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
from small_recognizer import INPUT, LABELS

import lsn
from lsn import profiling
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
from lsn.models.weights import load_weights
from lsn.profiling.model import Bench, _measure_here, measure
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline import make_timeline

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
pytestmark = pytest.mark.slow  # PyTorch's exporter takes seconds for each graph

SIZE = INPUT.size


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def expected_logits(weights: Path, clips_BTCHW: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return load_weights(weights).model.forward_frames(torch.from_numpy(clips_BTCHW)).numpy()


def test_onnx_runtime_alone(weights, exported):
    """Streams with what the description says."""
    folder, description = exported
    assert read_description(folder) == description
    about = json.loads((folder / "export.json").read_text())
    session = onnxruntime.InferenceSession(folder / about["step"]["file"], providers=["CPUExecutionProvider"])
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
    assert "1,000 steps" in {line["check"] for line in about["proof"]}


def test_clips_of_any_length(weights, exported):
    for num_frames in (1, 4, 7):
        clips_BTCHW = noise(3, num_frames, 3, SIZE, SIZE)
        expected = expected_logits(weights, clips_BTCHW)
        found = OnnxRuntime(exported[0], num_threads=1).forward_frames(clips_BTCHW)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("lsn_test_resnet", "torch", {"order": 2, "steps": 4, "memory_stages": (3,)}),
        (
            "convlstm_test_resnet",
            "onnx",
            {"shift": "causal", "frame_differences": True, "memory_stages": (2, 3)},
        ),
        ("gru_test_resnet", "openvino", {"memory_stages": (3,)}),
    ],
)
def test_every_memory_in_a_format(write_weights, tmp_path, monkeypatch, name, target, options):
    monkeypatch.setattr(proof, "MANY_STEPS", 50)  # that all tests share has a thousand
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


def test_a_model_that_looks_ahead_answers_clips_alone(write_weights, tmp_path, capsys):
    weights, folder = tmp_path / "weights", tmp_path / "clips"
    write_weights(weights, "lsn_ss_test_resnet", memory_stages=(3,))
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
    with pytest.raises(ModelError, match="clips of 5 frames; lsn_ss_test_resnet was exported for 4"):
        runtime.forward_frames(noise(1, 5, 3, SIZE, SIZE))
    with pytest.raises(ModelError, match="cannot stream"):
        runtime.allocate(1)


def test_a_graph_with_other_numbers_is_not_left_behind(write_weights, tmp_path_factory, tmp_path, monkeypatch):
    weights = write_weights(tmp_path_factory.mktemp("small"), "lsn_test_resnet", memory_stages=(3,))
    monkeypatch.setattr(proof, "MANY_STEPS", 10)

    def forgetful(gates_BTGHW, past_BPHW, cell_BDHW, *others):
        return plain_recurrence(gates_BTGHW, past_BPHW, cell_BDHW * 0.9, *others)

    monkeypatch.setattr(trace, "plain_recurrence", forgetful)
    with pytest.raises(ModelError, match=r"other numbers than PyTorch \(.*steps of 1 streams.*nothing was written"):
        export_weights(weights, "onnx", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_go_together_is_refused(weights, exported, monkeypatch):
    folder, _ = exported
    with pytest.raises(WeightsError, match="exists; delete it"):
        export_weights(weights, "onnx")
    with pytest.raises(ConfigError, match="say where the export goes"):
        export_weights("starter:gestures", "onnx")
    runtime = OnnxRuntime(folder)
    for clips in (noise(1, 4, 3, SIZE, SIZE).astype(np.float32), noise(4, 3, SIZE, SIZE), noise(1, 4, 3, 8, 8)):
        with pytest.raises(ModelError, match=r"expected uint8 \(batch, frames, 3, 32, 32\)"):
            runtime.forward_frames(clips)
    with pytest.raises(ConfigError, match="an export for onnx, not for openvino; export again with --to openvino"):
        OpenVinoRuntime(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime is not installed .*pip install 'lsn-video\[export\]'"):
        OnnxRuntime(folder)


NUMBER = r"\d+(?:\.\d+)?"
INSTALLED = ("av", "numpy", "onnxruntime", "PIL", "yaml", "safetensors", "simplejpeg")
"""What examples/without_torch.py says that a machine needs."""


def test_events_where_little_is_installed(weights, exported, videos):
    """The events and probabilities of a video are PyTorch's."""
    (folder, _), video = exported, videos / "6.mp4"
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
    found = make_timeline(StreamingPredictor({str(folder)!r}, events={rules!r}), {str(video)!r})
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


def test_every_command_that_takes_a_runtime(weights, exported, manifest, videos, tmp_path, monkeypatch, capsys):
    """Under the export and under PyTorch."""
    video, out = str(videos / "6.mp4"), tmp_path / "timeline"
    monkeypatch.setattr(proof, "MANY_STEPS", 50)

    def shown(*command: str) -> str:
        assert main([*command]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    for options in ([], ["--anytime"]):
        command = ["evaluate", str(weights), manifest.source, "--workers", "0", *options]
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
    monkeypatch.setattr(profiling, "PARTS", ("test", "stream"))  # each is a process of its own; the others are here
    parts = shown("bench", str(weights), video, "--runtime", "onnx", "--seconds", "0.1", "--json")
    assert [figure["part"] for figure in json.loads(parts)["figures"]] == ["test", "stream"]
    bench = Bench(str(weights), runtime="onnx", videos=(video,), seconds=0.1)
    assert measure(bench, "training") is None
    assert [_measure_here(bench, part).part for part in ("decode", "transform")] == ["decode", "transform"]
