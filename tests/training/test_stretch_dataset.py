"""Stretches as they are read: the frames that a stream would be given, their answers, and the loss on them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from colour_timelines import write_timelines_of_colours
from video_files import encode_pictures

from lsn.data.timelines.reading import read_timelines
from lsn.data.timelines.stretches import StretchRules, StretchSource, TimedVideo
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.data.timelines.targets import TargetRules
from lsn.distributed import World
from lsn.models import create_model
from lsn.training.carry import CarriedState, StatefulModel
from lsn.training.step import StepContext, train_step
from lsn.training.timelines.dataset import StretchDataset, StretchRates, StretchTargets, class_shares
from lsn.training.timelines.stream_pass import BackgroundLosses, StreamPass
from lsn.video.transforms import TrainTransform

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


def dataset_of(manifest, seconds, *, num_ticks=12, fps=5.0, rules=None, target_rules=None, jitter=1.0, **transform):
    videos = [TimedVideo(n, video, seconds) for n, video in enumerate(manifest.videos)]
    options = {"size": 64, "scales": (1.0,), "labels": ("background", *manifest.labels), "horizontal_flip": False}
    return StretchDataset(
        manifest,
        StretchSource(videos, rules or StretchRules(num_ticks)),
        StretchRates(fps, jitter),
        target_rules or TargetRules(),
        background="background",
        transform=TrainTransform(**options | transform),
    )


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A video of 30 frames per second whose first frame is shown at 3 seconds, with one event."""
    path = tmp_path_factory.mktemp("numbered") / "late.mkv"
    encode_pictures(path, num_frames=120, size=(64, 64), times=[90 + number for number in range(120)])
    event = TimelineEvent("a", 1.0, 2.0)
    return TimelineManifest("t.csv", ("a",), (TimelineVideo(str(path), (event,)),))


def number_of(frame_CHW):
    bars = frame_CHW[:, 4, 4::8].float().mean(0) > 127
    return sum(int(bar) << bit for bit, bar in enumerate(bars))


def test_a_stretch_has_the_frames_that_a_stream_would_be_given_and_their_answers(numbered):
    dataset = dataset_of(numbered, 4.0)
    for index in range(6):
        sample = dataset[index]
        (piece,), fps, _ = dataset.draw(index)
        seconds = (piece.first + np.arange(12)) / fps
        assert [number_of(frame) for frame in sample.frames_TCHW] == [round(30 * second) for second in seconds]
        assert sample.targets.classes_BT[0].tolist() == [int(1 <= second < 2) for second in seconds]


def test_a_sample_follows_from_seed_epoch_and_index_alone(numbered):
    dataset = dataset_of(numbered, 4.0, jitter=1.5)
    first = [dataset[index].frames_TCHW for index in range(3)]
    assert torch.equal(dataset[1].frames_TCHW, first[1])
    assert len({dataset.draw(index)[1] for index in range(3)}) == 3, "each has a rate of its own"
    dataset.set_epoch(1, None)
    assert not torch.equal(dataset[1].frames_TCHW, first[1])


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    return read_timelines(write_timelines_of_colours(tmp_path_factory.mktemp("colours"), "train"))


def going_left_and_right(colours):
    """The same videos, with labels that a mirror swaps."""
    labels = {"red": "going left", "blue": "going right"}
    videos = [
        TimelineVideo(v.path, tuple(TimelineEvent(labels[e.label], e.start_seconds, e.end_seconds) for e in v.events))
        for v in colours.videos
    ]
    return TimelineManifest("t.csv", ("going left", "going right"), tuple(videos))


def test_a_mirrored_stretch_has_mirrored_answers(colours):
    manifest = going_left_and_right(colours)
    plain, flipped = (dataset_of(manifest, 8.0, num_ticks=30, horizontal_flip=flip) for flip in (False, True))
    swapped = torch.tensor([0, 2, 1])
    kinds = set()
    for index in range(12):
        one, other = plain[index], flipped[index]
        is_mirrored = not torch.equal(one.frames_TCHW, other.frames_TCHW)
        expected = swapped[one.targets.classes_BT] if is_mirrored else one.targets.classes_BT
        assert torch.equal(other.targets.classes_BT, expected)
        if is_mirrored:
            assert torch.equal(other.frames_TCHW, one.frames_TCHW.flip(-1))
        kinds.add(is_mirrored)
    assert kinds == {True, False}


def test_the_crop_is_the_same_in_a_whole_stretch_also_of_several_videos(numbered):
    rules = StretchRules(30, splice_prob=1.0, background_share=1.0)
    dataset = dataset_of(numbered, 4.0, rules=rules, scales=(1.0, 0.8, 0.6), size=24)
    spliced = next(index for index in range(20) if len(dataset.draw(index)[0]) > 1)
    frames = dataset[spliced].frames_TCHW
    by_number = {}
    (stretch, fps, _) = dataset.draw(spliced)
    moments = [round(30 * (piece.first + t) / fps) for piece in stretch for t in range(piece.num_ticks)]
    for number, frame in zip(moments, frames, strict=True):
        assert torch.equal(by_number.setdefault(number, frame), frame)


def test_shares_of_classes_count_weights(colours):
    shares = class_shares(dataset_of(colours, 8.0, target_rules=TargetRules(foreground_weight=1e6)), 50)
    assert shares.sum() == pytest.approx(1) and shares[0] < 1e-4


def context_of(model, **changes):
    options = {"carried": CarriedState(0.0, ALONE), "label_smoothing": 0.1} | changes
    return StepContext(
        StatefulModel(model, every_frame=True),
        torch.optim.SGD(model.parameters(), lr=0.0),
        torch.amp.GradScaler("cpu", enabled=False),
        ALONE,
        **options,
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = create_model("lsn_test_resnet", num_classes=3, zero_init_memory=False, dropout=0.0)
    return model.eval()  # norms that do not depend on the batch


def gradients(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_chunks_learn_the_weighted_loss_of_every_frame_from_the_state_of_the_one_before(model):
    torch.manual_seed(1)
    frames = torch.rand(2, 6, 3, 32, 32)
    classes, weights = torch.randint(0, 3, (2, 6)), torch.rand(2, 6)
    targets = StretchTargets(classes, weights, torch.zeros(2, 6, dtype=torch.int64))
    context, losses = context_of(model), BackgroundLosses(1, power=1.0, world=ALONE)
    tallies, found = [], []
    for start in (0, 3):
        part = slice(start, start + 3)
        each = StreamPass(frames[:, part], targets.frames(part), is_start=start == 0, background=losses)
        tallies.append(train_step(context, [each], where="a step", num_items=6))
        found.append(gradients(model))

    # The literal computation: all frames at once, with the gradient cut between the chunks.
    state, answers = None, []
    for start, expected in zip((0, 3), found, strict=True):
        logits, state = model.step(frames[:, start : start + 3], state)
        state = state.map(torch.Tensor.detach)
        answers.append(logits.detach())
        part = slice(start, start + 3)
        each = F.cross_entropy(logits.flatten(0, 1), classes[:, part].flatten(), label_smoothing=0.1, reduction="none")
        loss = (each * weights[:, part].flatten()).sum() / weights[:, part].sum()
        model.zero_grad()
        loss.backward()
        torch.testing.assert_close(gradients(model), expected, rtol=1e-4, atol=1e-6)
        tally = tallies[start // 3]
        assert tally.loss / tally.weight == pytest.approx(loss.item(), rel=1e-5)
        right = (logits.argmax(2) == classes[:, part]) * weights[:, part]
        assert tally.correct == pytest.approx(right.sum().item(), rel=1e-5)
        assert (tally.items, tally.unreadable) == (6, 0)
    expected = F.cross_entropy(
        torch.cat(answers, 1).flatten(0, 1), classes.flatten(), label_smoothing=0.1, reduction="none"
    )
    losses.end_epoch()
    assert losses.means_V.item() == pytest.approx(expected[classes.flatten() == 0].mean().item(), rel=1e-5)


def test_frames_that_do_not_count_teach_nothing(model):
    frames, nothing = torch.rand(1, 2, 3, 32, 32), torch.zeros(1, 2, dtype=torch.int64)
    each = StreamPass(
        frames, StretchTargets(nothing, nothing.float(), nothing), True, BackgroundLosses(1, power=1, world=ALONE)
    )
    before = [parameter.clone() for parameter in model.parameters()]
    tally = train_step(context_of(model), [each], where="a step", num_items=2)
    assert (tally.weight, tally.loss) == (0, 0)
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_background_of_videos_with_a_high_loss_is_harder():
    losses = BackgroundLosses(4, power=2.0, world=ALONE)
    assert losses.difficulty() is None, "nothing is known yet"
    videos = torch.tensor([0, 0, 1, 2])
    losses.add(torch.tensor([1.0, 3.0, 4.0, 100.0]), videos, torch.tensor([True, True, True, False]))
    saved = losses.state_dict()
    losses.end_epoch()
    again = BackgroundLosses(4, power=2.0, world=ALONE)
    again.load_state_dict(saved)
    again.end_epoch()
    assert losses.difficulty() == again.difficulty() == pytest.approx([(2 / 3) ** 2, (4 / 3) ** 2, 1, 1])
    assert BackgroundLosses(4, power=0.0, world=ALONE).difficulty() is None


def test_what_is_drawn_follows_the_difficulty(colours):
    dataset = dataset_of(colours, 8.0, rules=StretchRules(4, background_share=1.0))
    dataset.set_epoch(0, [0, 1, 0, 0])
    assert {dataset.draw(index)[0][0].number for index in range(20)} == {1}


def test_events_that_overlap_have_a_yes_or_no_each_and_a_loss_of_their_own(numbered, model):
    events = (TimelineEvent("a", 0.5, 2.5), TimelineEvent("b", 1.5, 3.0))
    manifest = TimelineManifest("t.csv", ("a", "b", "c"), (TimelineVideo(numbered.videos[0].path, events),))
    dataset = dataset_of(manifest, 4.0, num_ticks=20, target_rules=TargetRules(multi_label=True))
    targets = dataset[0].targets
    seconds = np.arange(20) / 5
    expected = [[0.5 <= s < 2.5, 1.5 <= s < 3, False] for s in seconds]
    assert targets.classes_BTK[0].tolist() == np.float32(expected).tolist()
    shares = class_shares(dataset, 3)
    assert shares.tolist() == pytest.approx([0.5, 0.35, 0])

    frames, losses = torch.rand(1, 20, 3, 32, 32), BackgroundLosses(1, power=1.0, world=ALONE)
    each = StreamPass(frames, targets, is_start=True, background=losses)
    tally = train_step(context_of(model, label_smoothing=0.2), [each], where="a step", num_items=20)
    with torch.no_grad():
        logits, _ = model.step(frames, None)
    smoothed = 0.8 * targets.classes_BTK + 0.1
    by_frame = -(smoothed * logits.sigmoid().log() + (1 - smoothed) * (1 - logits.sigmoid()).log()).sum(2)[0]
    assert tally.loss == pytest.approx(by_frame.sum().item(), rel=1e-4)
    losses.end_epoch()
    is_background = torch.tensor([not any(row) for row in expected])
    assert losses.means_V.item() == pytest.approx(by_frame[is_background].mean().item(), rel=1e-4)


def test_a_mirrored_stretch_of_overlapping_events_swaps_their_columns(colours):
    manifest = going_left_and_right(colours)
    rules = TargetRules(multi_label=True)
    plain, flipped = (
        dataset_of(manifest, 8.0, num_ticks=30, target_rules=rules, horizontal_flip=flip) for flip in (False, True)
    )
    kinds = set()
    for index in range(12):
        one, other = plain[index], flipped[index]
        is_mirrored = not torch.equal(one.frames_TCHW, other.frames_TCHW)
        expected = one.targets.classes_BTK.flip(-1) if is_mirrored else one.targets.classes_BTK
        assert torch.equal(other.targets.classes_BTK, expected)
        kinds.add(is_mirrored)
    assert kinds == {True, False}
