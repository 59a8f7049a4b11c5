import random

import pytest
import torch
from inference_helpers import lively_model
from torch import nn

from lsn.errors import ConfigError, ModelError
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


def frame(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8)


def told_alone(model: Recognizer, seeds: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model.forward_frames(torch.stack([frame(seed) for seed in seeds])[None])[0]


def pool_of(model: Recognizer, capacity: int) -> StreamEngine:
    return StreamEngine(model, capacity, height=SIZE, width=SIZE)


@pytest.mark.parametrize("seed", range(3))
def test_no_stream_sees_another(model, seed):
    """Streams join, leave, start anew and skip ticks at random; each is told what it would be told alone."""
    rng, pool = random.Random(seed), pool_of(model, 5)
    seen: dict[int, list[int]] = {}
    num_left = 0
    for number in range(60):
        if rng.random() < 0.3 and pool.num_streams < 5:
            seen[pool.join()] = []
        for stream in [stream for stream in seen if rng.random() < 0.05]:
            pool.leave(stream)
            num_left += 1
            del seen[stream]
        for stream in [stream for stream in seen if rng.random() < 0.05]:
            pool.reset(stream)
            seen[stream] = []
        due = {stream: 1000 * stream + number for stream in seen if rng.random() < 0.6}
        tick = pool.tick({stream: frame(name) for stream, name in due.items()})
        assert tick.logits.keys() == due.keys()
        assert not tick.errors
        for stream, name in due.items():
            seen[stream].append(name)
            torch.testing.assert_close(tick.logits[stream], told_alone(model, seen[stream])[-1], atol=2e-3, rtol=1e-4)
    assert num_left > 2
    assert pool.num_streams == len(seen)


@pytest.mark.parametrize(
    "bad",
    [torch.zeros(3, SIZE, SIZE), torch.zeros(3, 0, 0, dtype=torch.uint8), torch.zeros(3, 8, 8, dtype=torch.uint8)],
)
def test_a_bad_frame_disturbs_nobody_and_its_stream_goes_on(model, bad):
    clean, pool = pool_of(model, 3), pool_of(model, 3)
    for each in (clean, pool):
        for _ in range(3):
            each.join()
        each.tick({0: frame(0), 1: frame(1), 2: frame(2)})
    hurt = pool.tick({0: frame(3), 1: bad, 2: frame(5)})
    good = clean.tick({0: frame(3), 2: frame(5)})
    assert list(hurt.errors) == [1]
    assert isinstance(hurt.errors[1], ModelError)
    assert "stream 1" in str(hurt.errors[1])
    for stream in (0, 2):
        torch.testing.assert_close(hurt.logits[stream], good.logits[stream], atol=2e-3, rtol=1e-4)
    after, expected = pool.tick({1: frame(4)}), clean.tick({1: frame(4)})
    torch.testing.assert_close(after.logits[1], expected.logits[1], atol=2e-3, rtol=1e-4)


def test_scores_that_are_not_finite_are_an_error_of_their_stream_alone(model):
    pool = pool_of(model, 2)
    good, hurt = pool.join(), pool.join()
    damaged = model.init_state(1, SIZE, SIZE)
    for tensor in damaged.tensors().values():
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)
    pool.put(hurt, damaged)
    for seed in range(2):
        tick = pool.tick({good: frame(seed), hurt: frame(seed)})
        assert list(tick.errors) == [hurt]
        assert "not finite" in str(tick.errors[hurt])
        alone_TK = told_alone(model, list(range(seed + 1)))
        torch.testing.assert_close(tick.logits[good], alone_TK[-1], atol=2e-3, rtol=1e-4)
    assert pool.state(hurt).num_frames_B.tolist() == [0]
    pool.reset(hurt)
    torch.testing.assert_close(
        pool.tick({hurt: frame(0)}).logits[hurt], told_alone(model, [0])[-1], atol=2e-3, rtol=1e-4
    )


def test_a_stream_moves_to_another_pool_and_forks(model):
    pool, other = pool_of(model, 1), pool_of(model, 4)
    stream = pool.join()
    for seed in range(4):
        pool.tick({stream: frame(seed)})
    kept = pool.state(stream)
    first = pool.tick({stream: frame(4)}).logits[stream]
    left, right = other.join(), other.join()
    other.put(left, kept)
    other.put(right, kept)
    assert torch.equal(other.tick({left: frame(4)}).logits[left], first)
    forked = other.tick({left: frame(7), right: frame(4)}).logits[right]
    torch.testing.assert_close(forked, first, atol=2e-3, rtol=1e-4)
    assert kept.num_frames_B.tolist() == [4]


def test_memory_is_known_and_does_not_change(model):
    pool = pool_of(model, 6)
    assert pool.bytes_per_stream == model.init_state(1, SIZE, SIZE).num_bytes
    storages = [tensor.data_ptr() for tensor in pool._state.tensors().values()]
    streams = [pool.join() for _ in range(6)]
    pool.tick({stream: frame(stream) for stream in streams})
    assert [tensor.data_ptr() for tensor in pool._state.tensors().values()] == storages


def test_numbers_are_never_used_again(model):
    pool = pool_of(model, 1)
    first = pool.join()
    pool.leave(first)
    assert pool.join() != first
    for act in (pool.leave, pool.reset, pool.state, lambda stream: pool.tick({stream: frame(0)})):
        with pytest.raises(ConfigError, match=f"no stream {first}"):
            act(first)


def test_bad_use_is_refused(model):
    with pytest.raises(ConfigError, match="pool of 0 streams"):
        pool_of(model, 0)
    with pytest.raises(ModelError, match="cannot stream"):
        pool_of(lively_model(shift="bidirectional"), 1)
    pool = pool_of(model, 1)
    stream = pool.join()
    with pytest.raises(ConfigError, match="all 1 places"):
        pool.join()
    for state in (
        model.init_state(2, SIZE, SIZE),
        model.init_state(1, 64, 64),
        lively_model().init_state(1, SIZE, SIZE),
    ):
        with pytest.raises(ModelError, match="the state is of"):
            pool.put(stream, state)
    assert pool.tick({}).logits == {}
