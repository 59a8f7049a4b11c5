import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lsn.errors import TrainingError
from lsn.models import create_model
from lsn.training.distributed import World
from lsn.training.step import take_step

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


class TinyRecognizer(nn.Module):
    """Frames' colours to classes: has gradients that are easy to check and no batch statistics."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(3, 4)

    def forward(self, clip_BTCHW):
        return self.classifier(clip_BTCHW.mean((3, 4))).mean(1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TinyRecognizer()


@pytest.fixture
def clips():
    torch.manual_seed(1)
    return torch.randn(6, 2, 3, 5, 5), torch.tensor([0, 1, 2, 3, 0, 1])


def step(model, passes, **changes):
    arguments = {
        "where": "step 7",
        "num_clips": sum(len(labels) for _, labels in passes),
        "world": ALONE,
        "optimizer": torch.optim.SGD(model.parameters(), lr=1.0),
        "scaler": torch.amp.GradScaler("cpu", enabled=False),
        "precision": "float32",
        "label_smoothing": 0.0,
        "clip_grad_norm": 0.0,
    }
    return take_step(model, passes, **arguments | changes)


def plain_step(model, clip, labels, **loss_options):
    """The literal step: one batch, mean loss, plain gradient descent."""
    expected = copy.deepcopy(model)
    F.cross_entropy(expected(clip), labels, **loss_options).backward()
    with torch.no_grad():
        for parameter in expected.parameters():
            parameter -= parameter.grad
    return expected.state_dict()


def cut(clips, *sizes):
    return list(zip(*(tensor.split(sizes) for tensor in clips), strict=True))


@pytest.mark.parametrize("sizes", [(6,), (3, 3), (4, 2), (4, 0, 2), (1, 1, 1, 3)])
def test_accumulation_in_uneven_parts_equals_one_batch(model, clips, sizes):
    expected = plain_step(model, *clips)

    tally = step(model, cut(clips, *sizes))

    torch.testing.assert_close(model.state_dict(), expected)
    assert tally.clips == 6


def test_tally_sums_loss_and_correct_clips(model, clips):
    logits = model(clips[0])

    tally = step(model, cut(clips, 4, 2))

    assert tally.loss == pytest.approx(F.cross_entropy(logits, clips[1], reduction="sum").item())
    assert tally.correct == (logits.argmax(1) == clips[1]).sum()


def test_clips_that_could_not_be_read_do_not_weaken_the_gradient(model, clips):
    readable = tuple(tensor[:4] for tensor in clips)
    expected = plain_step(model, *readable)

    step(model, cut(readable, 4, 0), num_clips=6)

    torch.testing.assert_close(model.state_dict(), expected)


def test_without_a_single_clip_the_weights_stay(model, clips):
    before = copy.deepcopy(model.state_dict())
    decaying = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.5)

    tally = step(model, cut(tuple(t[:0] for t in clips), 0), num_clips=2, optimizer=decaying)

    assert tally.clips == 0
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_label_smoothing(model, clips):
    expected = plain_step(model, *clips, label_smoothing=0.3)

    step(model, [clips], label_smoothing=0.3)

    torch.testing.assert_close(model.state_dict(), expected)


def test_the_gradient_is_clipped_to_its_norm(model, clips):
    before = copy.deepcopy(model.state_dict())

    step(model, [clips], clip_grad_norm=1e-3)

    moved = torch.cat([(model.state_dict()[name] - before[name]).flatten() for name in before])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_is_near_float32(model, clips, precision):
    expected = plain_step(model, *clips)

    step(model, [clips], precision=precision, scaler=torch.amp.GradScaler("cpu", enabled=precision == "fp16"))

    torch.testing.assert_close(model.state_dict(), expected, atol=2e-2, rtol=0)


def test_a_loss_that_is_not_finite_is_an_error_and_the_weights_stay(model, clips):
    before = copy.deepcopy(model.state_dict())
    clips[0][0] = torch.inf

    with pytest.raises(TrainingError, match=r"step 7: the loss became nan; lower optim.learning_rate"):
        step(model, [clips])

    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_gradient_that_is_not_finite_is_an_error_and_the_weights_stay(model, clips):
    before = copy.deepcopy(model.state_dict())
    model.classifier.weight.register_hook(lambda gradient: gradient / 0)

    with pytest.raises(TrainingError, match=r"step 7: the norm of the gradient became"):
        step(model, [clips])

    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_fp16_skips_a_step_that_overflows_and_scales_down(model, clips):
    before = copy.deepcopy(model.state_dict())
    scaler = torch.amp.GradScaler("cpu")
    scale = scaler.get_scale()
    model.classifier.weight.register_hook(lambda gradient: gradient / 0)

    step(model, [clips], precision="fp16", scaler=scaler, clip_grad_norm=20.0)

    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert scaler.get_scale() < scale


@pytest.mark.parametrize("name", ["lsn_ss_resnet10t", "convlstm_mobilenetv3_small_100", "lsn_convnext_atto"])
def test_a_network_takes_a_pass_without_clips(name):
    # What a process computes when none of its clips could be read: no gradient, no statistics.
    model = create_model(name, num_classes=3, num_frames=2).train()
    statistics = {key: value.clone() for key, value in model.named_buffers() if "num_batches" not in key}

    logits = model(torch.zeros(0, 2, 3, 32, 32))
    F.cross_entropy(logits, torch.zeros(0, dtype=torch.long), reduction="sum").backward()

    assert logits.shape == (0, 3)
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())
    buffers = dict(model.named_buffers())
    assert all(torch.equal(buffers[key], value) for key, value in statistics.items())
