import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lsn.distributed import World
from lsn.errors import TrainingError
from lsn.models import create_model
from lsn.training.carry import CarriedState, StatefulModel
from lsn.training.step import ClipPass, StepContext, train_step

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


def step(model, passes, *, num_clips=None, **changes):
    arguments = {
        "optimizer": torch.optim.SGD(model.parameters(), lr=1.0),
        "scaler": torch.amp.GradScaler("cpu", enabled=False),
        "world": ALONE,
    }
    num_clips = num_clips or sum(len(labels) for _, labels in passes)
    passes = [ClipPass(clip_BTCHW, labels_B) for clip_BTCHW, labels_B in passes]
    return train_step(StepContext(model, **arguments | changes), passes, where="step 7", num_items=num_clips)


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
    assert tally.weight == 6


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

    assert tally.weight == 0
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


def recognizer(name="lsn_ss_resnet10t", **options):
    """A causal network whose memory says something, without dropout, in training mode."""
    torch.manual_seed(2)
    model = create_model(name, num_classes=3, num_frames=4, dropout=0.0, shift="causal", **options)
    for block in model.memory.values():
        nn.init.normal_(block.expand[1].weight)
    return model.train()


def gradients_of(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def learn_without_moving(model, clip, labels, **changes):
    """The tally of a step and its gradients; only the statistics of the norms move."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    tally = step(StatefulModel(model), [(clip, labels)], optimizer=optimizer, **changes)
    return tally, gradients_of(model)


@pytest.fixture
def long_clips():
    torch.manual_seed(3)
    return torch.randn(3, 5, 3, 32, 32), torch.tensor([0, 1, 2])


@pytest.mark.parametrize("tbptt_frames", [5, 9])
def test_one_chunk_learns_as_the_whole_clip_does(long_clips, tbptt_frames):
    model = recognizer()
    whole = copy.deepcopy(model)
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.0)
    expected = step(whole, [long_clips], optimizer=optimizer, label_smoothing=0.1)

    tally, gradients = learn_without_moving(model, *long_clips, tbptt_frames=tbptt_frames, label_smoothing=0.1)

    torch.testing.assert_close(gradients, gradients_of(whole), rtol=0, atol=0)
    assert tally == expected


@pytest.mark.parametrize(("tbptt_frames", "sizes"), [(2, (2, 2, 1)), (4, (3, 2)), (3, (3, 2))])
def test_chunks_have_their_own_loss_and_no_gradient_between_them(long_clips, tbptt_frames, sizes):
    model = recognizer().double()
    clip, labels = long_clips[0].double(), long_clips[1]
    literal = copy.deepcopy(model)
    parts, state = [], None
    for chunk in clip.split(sizes, dim=1):
        logits, state = literal.step(chunk, state)
        state = state.map(torch.Tensor.detach)
        parts.append(logits)
    loss = sum(logits.shape[1] / 5 * F.cross_entropy(logits.mean(1), labels) for logits in parts)
    loss.backward()
    answers = torch.cat(parts, dim=1).mean(1)

    tally, gradients = learn_without_moving(model, clip, labels, tbptt_frames=tbptt_frames)

    torch.testing.assert_close(gradients, gradients_of(literal), rtol=1e-4, atol=1e-6)  # the loss is of float32
    assert tally.loss == pytest.approx(3 * loss.item(), rel=1e-5)
    assert (tally.correct, tally.weight) == ((answers.argmax(1) == labels).sum(), 3)


def peak_of_saved_bytes(model, num_frames, **changes):
    """The most that autograd keeps for the backward pass at any time, parameters and repetitions not counted."""
    live: dict[int, list[int]] = {}  # by storage: its bytes, and how often it is kept
    peak = 0
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    class Kept:
        def __init__(self, tensor):
            nonlocal peak
            self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
            live.setdefault(self.key, [tensor.untyped_storage().nbytes(), 0])[1] += 1
            peak = max(peak, sum(size for key, (size, _) in live.items() if key not in own))

        def __del__(self):
            live[self.key][1] -= 1
            if not live[self.key][1]:
                del live[self.key]

    clip, labels = torch.randint(0, 256, (1, num_frames, 3, 32, 32), dtype=torch.uint8), torch.tensor([0])
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        learn_without_moving(model, clip, labels, **changes)
    assert not live
    return peak


def test_chunks_take_the_same_memory_for_clips_of_any_length():
    model = recognizer("lsn_ss_test_resnet")
    short, long = (peak_of_saved_bytes(model, num_frames, tbptt_frames=8) for num_frames in (16, 64))
    whole = peak_of_saved_bytes(model, 64, tbptt_frames=64)

    assert long == short
    assert whole > 7 * long


def test_a_pass_starts_from_what_the_last_one_left(long_clips):
    model = recognizer().double()
    clip, labels = long_clips[0][:1].double(), long_clips[1][:1]
    literal = copy.deepcopy(model)
    _, state = literal.step(clip)
    logits, _ = literal.step(clip[:, :3], state)
    carried = CarriedState(1.0, ALONE)

    first, _ = learn_without_moving(model, clip, labels, carried=carried)
    second, _ = learn_without_moving(model, clip[:, :3], labels, carried=carried)

    assert second.loss == pytest.approx(F.cross_entropy(logits.mean(1), labels).item(), rel=1e-5)
    assert carried.state.num_frames_B.tolist() == [8]
    assert first.loss != second.loss


@pytest.mark.slow
def test_states_go_through_mixed_precision(long_clips):
    losses = []
    for precision in ("float32", "bf16"):
        model = recognizer()
        carried = CarriedState(1.0, ALONE)
        for _ in range(2):
            torch.manual_seed(0)
            tally, _ = learn_without_moving(model, *long_clips, carried=carried, tbptt_frames=2, precision=precision)
        losses.append(tally.loss)
        assert carried.state.num_frames_B.tolist() == [10] * 3
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_clips_of_uneven_passes_carry_on(long_clips):
    model = recognizer()
    carried = CarriedState(1.0, ALONE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for sizes in ((1, 2), (3, 0), (2, 1)):
        tally = step(
            StatefulModel(model), cut(long_clips, *sizes), optimizer=optimizer, carried=carried, tbptt_frames=3
        )
        assert tally.weight == 3
    assert carried.state.num_frames_B.tolist() == [25]  # five passes over 5 frames
