import random

import numpy as np
import pytest
import torch
from small_recognizer import lively_model
from torch import nn

from lsn.errors import ConfigError, ModelError
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models import Recognizer
from lsn.streaming import StreamEngine

SIZE = 32


@pytest.fixture(scope="module")
def model() -> Recognizer:
    """Causal shift and memory, both of which matter."""
    model = lively_model(shift="causal")
    for module in model.cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)


def scores_alone(model: Recognizer, seeds: list[int]) -> np.ndarray:
    clip_TCHW = torch.from_numpy(np.stack([frame(seed) for seed in seeds]))
    with torch.inference_mode():
        return model.forward_frames(clip_TCHW[None])[0].numpy()


def engine_of(model: Recognizer, capacity: int) -> StreamEngine:
    return StreamEngine(PyTorchRuntime(model, height=SIZE, width=SIZE), capacity)


@pytest.mark.parametrize("seed", range(3))
def test_no_stream_sees_another(model, seed):
    """Streams join, leave, restart and skip ticks at random; each gets the logits that it would get alone."""
    rng, engine = random.Random(seed), engine_of(model, 5)
    seen: dict[int, list[int]] = {}
    answers: dict[int, list[np.ndarray]] = {}

    def begin_anew(stream: int) -> None:
        if names := seen.pop(stream, []):
            found = np.stack(answers[stream])
            np.testing.assert_allclose(found, scores_alone(model, names), atol=2e-3, rtol=1e-4)
        seen[stream], answers[stream] = [], []

    num_left = 0
    for number in range(60):
        if rng.random() < 0.3 and engine.num_streams < 5:
            begin_anew(engine.acquire())
        for stream in [stream for stream in seen if rng.random() < 0.05]:
            engine.release(stream)
            num_left += 1
            begin_anew(stream)
            del seen[stream]
        for stream in [stream for stream in seen if rng.random() < 0.05]:
            engine.reset(stream)
            begin_anew(stream)
        due = {stream: 1000 * stream + number for stream in seen if rng.random() < 0.6}
        step = engine.step({stream: frame(name) for stream, name in due.items()})
        assert step.logits.keys() == due.keys()
        assert not step.errors
        for stream, name in due.items():
            seen[stream].append(name)
            answers[stream].append(step.logits[stream])
    assert num_left > 2
    assert engine.num_streams == len(seen)
    for stream in list(seen):
        begin_anew(stream)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((3, SIZE, SIZE)), np.zeros((3, 0, 0), np.uint8), np.zeros((3, 8, 8), np.uint8)],
)
def test_a_bad_frame_disturbs_nobody_and_its_stream_goes_on(model, bad):
    clean, engine = engine_of(model, 3), engine_of(model, 3)
    for each in (clean, engine):
        for _ in range(3):
            each.acquire()
        each.step({0: frame(0), 1: frame(1), 2: frame(2)})
    hurt = engine.step({0: frame(3), 1: bad, 2: frame(5)})
    good = clean.step({0: frame(3), 2: frame(5)})
    assert list(hurt.errors) == [1]
    assert isinstance(hurt.errors[1], ModelError)
    assert "expected uint8 (3, 32, 32)" in str(hurt.errors[1])
    for stream in (0, 2):
        np.testing.assert_allclose(hurt.logits[stream], good.logits[stream], atol=2e-3, rtol=1e-4)
    after, expected = engine.step({1: frame(4)}), clean.step({1: frame(4)})
    np.testing.assert_allclose(after.logits[1], expected.logits[1], atol=2e-3, rtol=1e-4)


def test_scores_that_are_not_finite_are_an_error_of_their_stream_alone(model):
    engine = engine_of(model, 2)
    good, hurt = engine.acquire(), engine.acquire()
    empty = engine.state(hurt)
    engine.put(hurt, {name: np.full_like(t, np.nan) if t.dtype == np.float32 else t for name, t in empty.items()})
    for seed in range(2):
        step = engine.step({good: frame(seed), hurt: frame(seed)})
        assert list(step.errors) == [hurt]
        assert "not finite" in str(step.errors[hurt])
        alone_TK = scores_alone(model, list(range(seed + 1)))
        np.testing.assert_allclose(step.logits[good], alone_TK[-1], atol=2e-3, rtol=1e-4)
    assert engine.state(hurt)["num_frames"].tolist() == [0]
    engine.reset(hurt)
    np.testing.assert_allclose(
        engine.step({hurt: frame(0)}).logits[hurt], scores_alone(model, [0])[-1], atol=2e-3, rtol=1e-4
    )


def test_a_stream_moves_to_another_pool_and_forks(model):
    engine, other = engine_of(model, 1), engine_of(model, 4)
    stream = engine.acquire()
    for seed in range(4):
        engine.step({stream: frame(seed)})
    kept = engine.state(stream)
    first = engine.step({stream: frame(4)}).logits[stream]
    left, right = other.acquire(), other.acquire()
    other.put(left, kept)
    other.put(right, kept)
    assert np.array_equal(other.step({left: frame(4)}).logits[left], first)
    forked = other.step({left: frame(7), right: frame(4)}).logits[right]
    np.testing.assert_allclose(forked, first, atol=2e-3, rtol=1e-4)
    assert kept["num_frames"].tolist() == [4]


def test_memory_is_known_and_does_not_change(model):
    engine = engine_of(model, 6)
    assert engine.bytes_per_stream == model.init_state(1, SIZE, SIZE).num_bytes
    storages = [tensor.data_ptr() for tensor in engine._states._state.tensors().values()]
    streams = [engine.acquire() for _ in range(6)]
    engine.step({stream: frame(stream) for stream in streams})
    assert [tensor.data_ptr() for tensor in engine._states._state.tensors().values()] == storages


def test_numbers_are_never_used_again(model):
    engine = engine_of(model, 1)
    first = engine.acquire()
    engine.release(first)
    assert engine.acquire() != first
    for act in (engine.release, engine.reset, engine.state, lambda stream: engine.step({stream: frame(0)})):
        with pytest.raises(ConfigError, match=f"no slot {first}"):
            act(first)


def test_bad_use_is_refused(model):
    with pytest.raises(ConfigError, match="an engine for 0 streams"):
        engine_of(model, 0)
    with pytest.raises(ModelError, match="cannot stream"):
        engine_of(lively_model(shift="bidirectional"), 1)
    engine = engine_of(model, 1)
    stream = engine.acquire()
    with pytest.raises(ConfigError, match="all 1 slots"):
        engine.acquire()
    for state in (
        model.init_state(2, SIZE, SIZE),
        model.init_state(1, 64, 64),
        lively_model().init_state(1, SIZE, SIZE),
    ):
        with pytest.raises(ModelError, match="the state is of"):
            engine.put(stream, {name: tensor.numpy() for name, tensor in state.tensors().items()})
    assert engine.step({}).logits == {}
