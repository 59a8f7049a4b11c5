"""The network through the real compiler; the CNN is small and the frames are too, but each variant takes seconds."""

import copy
import shutil

import numpy as np
import pytest
import tiny_cnn  # noqa: F401 (gives it to timm)
import torch
from model_helpers import awake
from small_recognizer import FPS, INPUT, LABELS, RATES, lively_model, noisy_frames

from lsn.errors import ModelError
from lsn.inference.predictor import Predictor
from lsn.models import Recognizer
from lsn.models.compile import compile_model
from lsn.models.fuse import fuse
from lsn.models.weights import LoadedModel

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="PyTorch's compiler needs a C++ compiler"
)


@pytest.fixture(autouse=True)
def _forget_compiled():
    yield
    torch.compiler.reset()


def compiled_copy(model: Recognizer, **options: bool) -> Recognizer:
    model = copy.deepcopy(model)
    compile_model(model, **options)
    return model


def clips(number: int, *, num_frames: int = 4, size: int = 32) -> torch.Tensor:
    return torch.randn(number, num_frames, 3, size, size, generator=torch.Generator().manual_seed(number))


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_scores_as_clip_and_as_stream() -> None:
    model = fuse(awake("lsn_ss_tiny_cnn", shift="causal", memory_stages=(1,)))
    compiled = compiled_copy(model, frozen=True)
    with torch.inference_mode():
        clip_BTCHW = clips(2)  # batches of other sizes are those of test_compiled
        expected_BTK = model.forward_frames(clip_BTCHW)
        assert_close(compiled.forward_frames(clip_BTCHW), expected_BTK)
        state = compiled.init_state(2, 32, 32)
        for frame_BCHW, expected_BK in zip(clip_BTCHW.unbind(1), expected_BTK.unbind(1), strict=True):
            logits_BK, state = compiled.step(frame_BCHW, state)
            assert_close(logits_BK, expected_BK)
        assert state.num_frames_B.tolist() == [4, 4]
    assert compiled.state_dict().keys() == model.state_dict().keys()


@pytest.mark.slow
def test_a_compiler_that_makes_something_else_is_found_out(videos, monkeypatch) -> None:
    """PyTorch 2.14 did so once with a shifted network; in the end this compiled network is given brighter frames."""
    loaded = LoadedModel(lively_model("lsn_tiny_cnn", shift="causal", memory_stages=(1,)), LABELS, INPUT, {}, RATES)
    plain, predictor = (Predictor(loaded, device="cpu", runtime=runtime) for runtime in ("pytorch", "compiled"))
    for video in ("4.mp4", "6.mp4"):
        expected_TK = plain(videos / video).frame_probabilities_TK
        np.testing.assert_allclose(predictor(videos / video).frame_probabilities_TK, expected_TK, atol=1e-4)
    advance = predictor.runtime.network.advance
    compiled = advance.compiled
    monkeypatch.setattr(advance, "compiled", lambda model, clip, state: compiled(model, 1.5 * clip, state))
    advance.checked.clear()
    with pytest.raises(ModelError, match="run it without the compiler"):
        predictor(noisy_frames(3), fps=FPS)


@pytest.mark.slow
def test_a_compiled_model_learns_by_the_same_gradients() -> None:
    model = awake("lsn_tiny_cnn", memory_stages=(1,), dropout=0.0).train()
    compiled = compiled_copy(model)
    expected_BK, got_BK = model(clips(2)), compiled(clips(2))
    assert_close(got_BK, expected_BK)
    expected_BK.square().sum().backward()
    got_BK.square().sum().backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    for (name, left), (_, right) in zip(compiled.named_parameters(), model.named_parameters(), strict=True):
        assert (left.grad - right.grad).norm() < 1e-3 * norm, name
    torch.testing.assert_close(dict(compiled.named_buffers()), dict(model.named_buffers()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_copy_runs_compiled_with_its_own_weights(graphs_without_code) -> None:
    compiled = compiled_copy(awake("tsn_tiny_cnn"))
    moved = copy.deepcopy(compiled)
    with torch.inference_mode():
        before_BK = compiled(clips(2))
        moved.get_classifier().bias.add_(1)
        next(moved.cnn.parameters()).mul_(0.5)
        plain = awake("tsn_tiny_cnn")
        plain.load_state_dict(moved.state_dict())
        assert_close(moved(clips(2)), plain(clips(2)))
        assert_close(compiled(clips(2)), before_BK)
    assert (moved(clips(2)) - 1 - before_BK).abs().max() > 1e-3


def test_what_is_wrong_with_a_clip_is_said_as_without_a_compiler() -> None:
    compiled = compiled_copy(awake("lsn_resnet10t"))
    with pytest.raises(ModelError, match="expected clips of shape B x T x 3 x H x W"):
        compiled(torch.zeros(1, 2, 4, 32, 32))
    with pytest.raises(ModelError, match="expected clips of shape B x T x 3 x H x W"):
        compiled.step(torch.zeros(1, 0, 3, 32, 32))


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_what_to_install() -> None:
    compiled = compiled_copy(awake("tsn_tiny_cnn"), frozen=True)
    settings = {"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}
    with (
        torch.inference_mode(),
        torch._inductor.config.patch(settings),
        pytest.raises(ModelError, match=r"could not be compiled .* apt install g\+\+ python3-dev"),
    ):
        compiled(clips(2))
