"""The same numbers on a GPU as on the CPU: networks, streams, training, commands. Run by `make gpu`."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lsn.config import (
    DataConfig,
    EvaluationConfig,
    FrameRates,
    InputConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainingConfig,
    to_yaml,
)
from lsn.data import read_manifest
from lsn.errors import TrainingStopped
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.inference.predictor import Predictor
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models import HOConvLSTM, Recognizer, create_model
from lsn.models.compile import compile_model
from lsn.models.fuse import fuse
from lsn.models.weights import load_weights, save_weights
from lsn.streaming import StreamingPredictor
from lsn.streaming.engine import StreamEngine
from lsn.training import train
from lsn.video import write_video

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

LABELS = ("up", "down", "left")
INPUT = InputConfig(size=32, short_side=36)
FAMILIES = ("tsn", "tsm", "gru", "convlstm", "lsn", "lsn_ss")


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """Without TF32, so that both sides round alike."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def lively_model(family: str = "lsn", **options) -> Recognizer:
    """A small network in eval mode whose memory has a say."""
    torch.manual_seed(0)
    model = create_model(f"{family}_resnet10t", num_classes=len(LABELS), num_frames=4, **options).eval()
    for name, parameter in model.memory.named_parameters():
        if parameter.ndim == 1 and name.endswith("weight"):
            torch.nn.init.constant_(parameter, 0.5)
    return model


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    rates = FrameRates(5, 10, 20)
    save_weights(folder, lively_model(), labels=LABELS, input=INPUT, metrics={}, frame_rates=rates)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with train.csv and val.csv."""
    folder = tmp_path_factory.mktemp("videos")
    for split, count in (("train", 12), ("val", 6)):
        rows = ["path,label"]
        for number in range(count):
            brightness = 40 + 80 * (number % 3)
            frames_THWC = noise(8, 40, 56, 3, seed=number) // 4 + brightness
            write_video(folder / f"{split}{number}.mp4", frames_THWC.numpy(), fps=10)
            rows.append(f"{split}{number}.mp4,{LABELS[number % 3]}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def config(videos) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name="lsn_resnet10t", num_frames=4, pretrained=False),
        data=DataConfig(train=str(videos / "train.csv"), val=str(videos / "val.csv"), num_workers=2),
        input=InputConfig(size=32, short_side=32),
        optim=OptimConfig(
            optimizer="sgd",
            learning_rate=0.02,
            lr_base_size=0,
            weight_decay=5e-4,
            new_layer_lr_mult=1.0,
            warmup_epochs=0.5,
        ),
        training=TrainingConfig(
            epochs=2, min_steps_per_epoch=1, batch_size=4, batch_norm="train", device="cuda", checkpoint_every=1
        ),
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_clips(family, memory_format):
    model, clip_BTCHW = lively_model(family), noise(2, 5, 3, 64, 48)
    with torch.inference_mode():
        expected = copy.deepcopy(model).double().forward_frames(clip_BTCHW)
        on_gpu = copy.deepcopy(model).to("cuda", memory_format=memory_format)
        for name, network in {"as it is": on_gpu, "fused": fuse(on_gpu)}.items():
            difference = (network.forward_frames(clip_BTCHW.cuda()).cpu() - expected).abs().max()
            assert difference < 1e-4, name


@pytest.mark.parametrize("family", ["lsn", "lsn_ss", "convlstm"])
def test_streams_equal_clips(family):
    model = lively_model(family, **({"shift": "causal"} if family == "lsn_ss" else {})).cuda()
    clip_BTCHW, state, stepped = noise(2, 9, 3, 64, 48).cuda(), None, []
    with torch.inference_mode():
        for frames in (clip_BTCHW[:, 0], clip_BTCHW[:, 1:4], *clip_BTCHW[:, 4:].unbind(1)):
            logits, state = model.step(frames, state)
            stepped.append(logits if logits.ndim == 3 else logits[:, None])
        assert (torch.cat(stepped, 1) - model.forward_frames(clip_BTCHW)).abs().max() < 1e-4


def test_gradients_of_the_recurrence():
    torch.manual_seed(0)
    block = HOConvLSTM(64, reduction=2).double()
    x_BTCHW = torch.randn(2, 5, 64, 7, 6, dtype=torch.float64)

    def gradients(block, x_BTCHW):
        x_BTCHW = x_BTCHW.requires_grad_()
        y_BTCHW, _ = block(x_BTCHW)
        return torch.autograd.grad(y_BTCHW.square().sum(), [x_BTCHW, *block.parameters()])

    expected = gradients(block, x_BTCHW)
    for found, right in zip(gradients(copy.deepcopy(block).cuda(), x_BTCHW.detach().cuda()), expected, strict=True):
        assert (found.cpu() - right).abs().max() < 1e-9


def test_streams_in_a_batch():
    model = lively_model().cuda()
    runtime = PyTorchRuntime(model, height=32, width=32)
    engine, alone = StreamEngine(runtime, 3), StreamEngine(runtime, 1)
    single = alone.acquire()
    slots = [engine.acquire() for _ in range(3)]
    for t in range(6):
        frames = {slot: noise(3, 32, 32, seed=100 * slot + t).numpy() for slot in slots if (t + slot) % 3}
        logits = engine.step(frames).logits
        if slots[0] in frames:
            expected = alone.step({single: frames[slots[0]]}).logits[single]
            np.testing.assert_allclose(logits[slots[0]], expected, atol=1e-4)


def test_a_stream_moves_between_gpu_and_cpu(weights, tmp_path):
    frames_THWC = noise(20, 40, 56, 3).numpy()

    def push(stream, start, end):
        return [answer for t in range(start, end) for answer in stream.push(t / 10, frames_THWC[t])]

    expected = push(StreamingPredictor(weights, device="cpu").open("whole"), 0, 20)
    for first, second in (("cuda", "cpu"), ("cpu", "cuda")):
        stream = StreamingPredictor(weights, device=first).open("half")
        answers = push(stream, 0, 10)
        stream.save(tmp_path / f"{first}.safetensors")
        resumed = StreamingPredictor(weights, device=second).open("half", state=tmp_path / f"{first}.safetensors")
        answers += push(resumed, 10, 20)
        assert len(answers) == len(expected)
        for answer, right in zip(answers, expected, strict=True):
            assert answer.reset == right.reset
            np.testing.assert_allclose(answer.probabilities, right.probabilities, atol=1e-4)


def test_predictions_and_evaluation(weights, videos):
    predictions = [Predictor(weights, device=device)(videos / "val0.mp4") for device in ("cpu", "cuda")]
    np.testing.assert_allclose(*[p.probabilities for p in predictions], atol=1e-4)
    loaded = load_weights(weights)
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig())
    manifest = read_manifest(videos / "val.csv", labels=LABELS)
    on_cpu, on_gpu = (
        evaluate(loaded.model, manifest, protocol, device=device, num_workers=workers)
        for device, workers in (("cpu", 0), ("cuda", 2))
    )
    assert on_cpu.metrics.top1 == on_gpu.metrics.top1
    assert abs(on_cpu.metrics.loss - on_gpu.metrics.loss) < 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float32"},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"precision": "bf16", "grad_checkpointing": True},
        {"precision": "float32", "state_carry_prob": 0.5, "tbptt_frames": 2},
        {"precision": "float32", "ema_decay": 0.9, "grad_accum_steps": 2},
    ],
    ids=lambda settings: "-".join(f"{name}={value}" for name, value in settings.items()),
)
def test_training(config, tmp_path, settings):
    config = replace(config, training=replace(config.training, **settings))
    train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) >= 2 and all(np.isfinite(losses)), lines
    learned = load_weights(tmp_path / "run").model.state_dict()
    assert all(tensor.isfinite().all() for tensor in learned.values())


def test_the_first_step_is_that_of_the_cpu(config, tmp_path):
    config, losses = replace(config, model=replace(config.model, dropout=0.0)), []
    for device in ("cpu", "cuda"):
        training = replace(config.training, device=device, epochs=1)
        train(replace(config, training=training), tmp_path / device)
        lines = [json.loads(line) for line in (tmp_path / device / "metrics.jsonl").read_text().splitlines()]
        losses.append(lines[0]["loss"])
    assert abs(losses[0] - losses[1]) < 1e-4


def test_a_stopped_run_is_resumed(config, tmp_path):
    asked = iter(range(100))
    with pytest.raises(TrainingStopped):
        train(config, tmp_path / "run", should_stop=lambda: next(asked) > 2)
    train(config, tmp_path / "run", resume=True)
    train(config, tmp_path / "whole")
    ours, theirs = (load_weights(tmp_path / name).model.state_dict() for name in ("run", "whole"))
    assert max((ours[name].double() - theirs[name].double()).abs().max() for name in ours) < 1e-2


def test_torchrun(config, tmp_path):
    config = replace(config, training=replace(config.training, batch_norm="sync", epochs=1))
    (tmp_path / "recipe.yaml").write_text(to_yaml(config))
    command = ["torch.distributed.run", "--nproc-per-node", "1", "-m", "lsn", "train", "recipe.yaml", "--out", "run"]
    done = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/model.safetensors").is_file()


def test_compiled():
    model, clip_BTCHW = lively_model().cuda(), noise(2, 5, 3, 64, 48).cuda()
    with torch.inference_mode():
        expected = model.forward_frames(clip_BTCHW)
        compiled = copy.deepcopy(model)
        compile_model(compiled, frozen=True)
        assert (compiled.forward_frames(clip_BTCHW) - expected).abs().max() < 1e-3
        state, logits = None, []
        for frame_BCHW in clip_BTCHW.unbind(1):
            logits_BK, state = compiled.step(frame_BCHW, state)
            logits.append(logits_BK)
        assert (torch.stack(logits, 1) - expected).abs().max() < 1e-3


@pytest.mark.parametrize(
    "arguments",
    [
        ["stream", "WEIGHTS", "VIDEO", "--json"],
        ["predict", "WEIGHTS", "VIDEO", "--json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands(arguments, weights, videos):
    replaced = [{"WEIGHTS": str(weights), "VIDEO": str(videos / "val0.mp4")}.get(part, part) for part in arguments]
    done = subprocess.run([sys.executable, "-m", "lsn", *replaced], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
