import math

import pytest
import torch
from small_recognizer import INPUT, LABELS, lively_model
from torch import nn

from lsn import create_model
from lsn.errors import ConfigError, ModelError, VideoError
from lsn.models import ConvLSTM, Recognizer
from lsn.models.weights import save_weights
from lsn.streaming.verify import Check, verify


def saved(model: Recognizer, folder):
    for module in model.cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    with torch.no_grad():
        model.get_classifier().weight.mul_(0.1)
    save_weights(folder, model, labels=LABELS, input=INPUT, metrics={})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"memory": "gru"}, {"memory": "convlstm"}, {"shift": "causal", "steps": 4}], ids=str
)
def test_every_model_that_claims_to_stream_is_proven(options, tmp_path, videos):
    weights = saved(lively_model("lsn_test_resnet", **options), tmp_path / "weights")
    checks = verify(weights, videos / "6.mp4", num_frames=12)
    assert [check for check in checks if not check.passed] == []
    assert [check.is_control for check in checks] == [False] * 4 + [True]
    assert checks[3].difference == 0.0


@pytest.mark.slow
def test_a_model_without_a_past_has_no_control(tmp_path):
    model = create_model("tsn_test_resnet", num_classes=len(LABELS))
    checks = verify(saved(model, tmp_path / "weights"), num_frames=6)
    assert all(check.passed and not check.is_control for check in checks)


@pytest.mark.slow
def test_a_memory_that_loses_its_state_is_found_out(tmp_path, monkeypatch):
    weights = saved(lively_model("lsn_test_resnet"), tmp_path / "weights")
    forward = ConvLSTM.forward
    monkeypatch.setattr(ConvLSTM, "forward", lambda self, x, state=None: forward(self, x))
    checks = {check.name: check.passed for check in verify(weights, num_frames=8)}
    assert not checks["frame by frame"]
    assert not checks["in chunks"]


@pytest.mark.slow
def test_a_memory_that_says_nothing_fails_the_control(tmp_path):
    model = create_model("lsn_test_resnet", num_classes=len(LABELS))  # fresh: the identity
    *_, control = verify(saved(model, tmp_path / "weights"), num_frames=6)
    assert control.is_control and not control.passed


def test_a_check_is_what_it_says():
    assert Check("", 0.0, 0.0).passed
    assert not Check("", 1e-3, 1e-4).passed
    assert not Check("", 1e-3, 1e-3, is_control=True).passed


def test_bad_input_is_refused(tmp_path, videos):
    with pytest.raises(ModelError, match="cannot stream"):
        verify(saved(lively_model("lsn_test_resnet", shift="bidirectional"), tmp_path / "ahead"))
    weights = saved(lively_model("lsn_test_resnet"), tmp_path / "weights")
    with pytest.raises(ConfigError, match="between 4 and 4096"):
        verify(weights, num_frames=3)
    with pytest.raises(ConfigError, match="between 4 and 4096"):
        verify(weights, num_frames=10**9)
    for tolerance in (-1.0, math.nan, math.inf):  # nan would fail every check, infinity pass each
        with pytest.raises(ConfigError, match="tolerance is"):
            verify(weights, tolerance=tolerance)
    with pytest.raises(VideoError, match=r"0\.mp4: 3 frames; 32 are needed"):
        verify(weights, videos / "0.mp4")
