"""A compiled run is the run, to rounding. What the compiler makes of a model is in the tests of the models."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from lsn.config import ModelConfig
from lsn.training import train


@pytest.mark.slow
def test_a_compiled_run_ends_with_the_same_weights(tmp_path, config, graphs_without_code):
    """With a moving average, whose copy is validated with its own weights, and a last batch of another size."""
    config = replace(config, model=ModelConfig("tsn_test_resnet", num_frames=2, pretrained=False, dropout=0.5))
    larger = replace(config.input, size=64, short_side=64)  # norms over few values magnify rounding
    config = replace(config, input=larger)
    training = replace(config.training, ema_decay=0.5, epochs=1)
    train(replace(config, training=training), tmp_path / "plain")
    train(replace(config, training=replace(training, compile=True)), tmp_path / "compiled")
    torch.compiler.reset()
    plain, compiled = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "compiled"))
    torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-3)
    plain, compiled = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("plain", "compiled")
    )
    assert (compiled[-1]["kind"], compiled[-1]["loss"]) == ("val", pytest.approx(plain[-1]["loss"], rel=1e-3))
