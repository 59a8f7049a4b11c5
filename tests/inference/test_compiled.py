"""Predictors that run compiled say what they say without a compiler; its code is in the tests of the models."""

import numpy as np
import pytest
import torch
from small_recognizer import INPUT, LABELS, lively_model, noisy_frames

from lsn.cli import main
from lsn.config import FrameRates
from lsn.models.weights import LoadedModel, save_weights
from lsn.streaming import StreamingPredictor
from lsn.streaming.session import advance
from lsn.streaming.verify import verify
from lsn.video.frame_sampler import Tick

FPS = 10


@pytest.fixture
def loaded() -> LoadedModel:
    model = lively_model("lsn_test_resnet", shift="causal", memory_stages=(3,))  # the compiler takes its time
    return LoadedModel(model, LABELS, INPUT, {}, FrameRates(5, FPS, 20))


@pytest.mark.slow
def test_streams_that_come_and_go(loaded, graphs_without_code):
    """One stream, then two, then three in a batch; the warm-up has run one and four."""
    results = []
    for runtime in ("pytorch", "compiled"):
        predictor = StreamingPredictor(loaded, device="cpu", capacity=4, runtime=runtime)
        streams, answers = [], []
        for number, frame in enumerate(noisy_frames(3, num_frames=6)):
            if number in (0, 2, 4):
                streams.append(predictor.open(f"stream {number}"))
            tick = Tick(number / FPS, frame.numpy(), number / FPS, number == 0, start_seconds=0.0, number=number)
            answers += [answer.frame_probabilities for answer in advance(dict.fromkeys(streams, tick)).values()]
        results.append(np.array(answers))
    assert len(results[0]) == 6 + 4 + 2
    np.testing.assert_allclose(results[1], results[0], atol=1e-4)


@pytest.mark.slow
def test_the_proof_covers_the_compiled_network(tmp_path, graphs_without_code):
    with torch.no_grad():
        (model := lively_model("lsn_test_resnet", memory_stages=(3,))).get_classifier().weight.mul_(0.1)
    save_weights(tmp_path, model, labels=LABELS, input=INPUT, metrics={})
    *checks, control = verify(tmp_path, num_frames=6, is_compiled=True)
    assert all(check.passed for check in checks)
    assert control.is_control


@pytest.mark.slow
def test_an_evaluation_counts_the_same(loaded, manifest, tmp_path, capsys, graphs_without_code):
    save_weights(tmp_path, loaded.model, labels=LABELS, input=INPUT, metrics={})
    results = []
    for options in ([], ["--runtime", "compiled"]):
        command = ["evaluate", str(tmp_path), manifest.source, "--device", "cpu", "--workers", "0", *options]
        assert main(command) == 0
        results.append(capsys.readouterr().out.splitlines())
    assert results[1][1:] == results[0][1:]
