"""Results of folds together: the same figures as one evaluation of all clips."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from lsn.data import Clip
from lsn.errors import DataError
from lsn.evaluation.cross_validation import CrossValidation, GroupAccuracy, group_interval, join_results
from lsn.evaluation.metrics import compute_metrics, confusion_matrix, rank_classes
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import EvaluationResult, PredictionRow

PROTOCOL = EvaluationProtocol(
    num_frames=2,
    size=32,
    short_side=32,
    sampling="segments",
    frame_stride=1,
    num_clips=1,
    num_crops=1,
    average="logits",
    batch_size=1,
)
LABELS = tuple("abcdefg")


def result_of(scores, labels, groups, labels_of_set=LABELS):
    """An evaluation with these log-probabilities."""
    ranked = rank_classes(scores)
    rows = tuple(
        PredictionRow(
            clip=Clip(f"{group}/{number}.mp4", LABELS[label], group=group),
            predicted=LABELS[ranked[number, 0]],
            confidence=scores[number].max().exp().item(),
            label_probability=scores[number, label].exp().item(),
            top5=tuple(LABELS[index] for index in ranked[number, :5].tolist()),
        )
        for number, (label, group) in enumerate(zip(labels.tolist(), groups, strict=True))
    )
    confusion = confusion_matrix(ranked[:, 0], labels, num_classes=len(LABELS))
    metrics = compute_metrics(scores, labels, class_names=LABELS)
    return EvaluationResult("fold.csv", PROTOCOL, labels_of_set, metrics, confusion, rows, ())


@pytest.fixture(scope="module")
def answers():
    """Log-probabilities, labels and groups of 40 clips."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (40,), generator=generator)  # of the last class there is no clip
    scores = (2 * torch.randn(40, 7, generator=generator)).log_softmax(1)
    return scores, labels, [f"s{number // 5}" for number in range(40)]


def test_folds_together_are_the_evaluation_of_all_clips(answers):
    scores, labels, groups = answers
    parts = [result_of(scores[i : i + 10], labels[i : i + 10], groups[i : i + 10]) for i in range(0, 40, 10)]
    whole, joined = result_of(*answers), join_results(parts)
    for name, value in asdict(whole.metrics).items():
        figure = getattr(joined.metrics, name)
        assert figure == (value if name == "classes_without_samples" else pytest.approx(value, abs=1e-6)), name
    assert torch.equal(joined.confusion, whole.confusion)
    assert len(joined.rows) == 40


def test_other_labels_are_refused(answers):
    one = result_of(*answers)
    with pytest.raises(DataError, match="have different labels"):
        join_results([one, replace(one, labels=tuple("hijklmn"))])


def test_groups_and_seeds(answers):
    scores, labels, groups = answers
    flipped = scores.flip(1)
    results = {}
    for seed, its in enumerate((scores, flipped)):
        for fold in range(2):
            part = slice(20 * fold, 20 * fold + 20)
            results[seed, fold] = result_of(its[part], labels[part], groups[part])
    found = CrossValidation(results)
    assert (found.seeds, found.num_folds) == ((0, 1), 2)
    right = torch.stack([(its.argmax(1) == labels).double() for its in (scores, flipped)])
    assert found.top1 == pytest.approx(right.mean().item())
    assert [found.of_seed(seed).metrics.top1 for seed in (0, 1)] == pytest.approx(right.mean(1).tolist())
    by_group = {group.name: (group.num_clips, group.accuracy) for group in found.groups()}
    expected = right.mean(0).view(8, 5).mean(1)
    assert by_group == {f"s{n}": (5, pytest.approx(expected[n].item())) for n in range(8)}
    accuracies = [group.accuracy for group in found.groups()]
    assert accuracies == sorted(accuracies)
    worst = found.worst_group()
    assert worst is not None and worst.accuracy == pytest.approx(expected.min().item())


def test_the_interval_is_that_of_scipy():
    rng = np.random.default_rng(0)
    sizes, accuracies = rng.integers(1, 20, 25), rng.uniform(0.3, 1.0, 25)
    groups = [
        GroupAccuracy(str(n), int(size), float(a)) for n, (size, a) in enumerate(zip(sizes, accuracies, strict=True))
    ]

    def accuracy(right, total, axis=-1):
        return right.sum(axis) / total.sum(axis)

    theirs = bootstrap(
        (sizes * accuracies, sizes), accuracy, paired=True, vectorized=True, method="percentile", random_state=0
    ).confidence_interval
    assert group_interval(groups) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_one_group_has_no_spread():
    assert group_interval([GroupAccuracy("a", 10, 0.7)]) == pytest.approx((0.7, 0.7))
