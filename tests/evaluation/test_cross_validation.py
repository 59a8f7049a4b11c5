"""Results of folds together: the same figures as one evaluation of all clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from lsn.data import Clip
from lsn.errors import DataError
from lsn.evaluation.cross_validation import CrossValidation, GroupAccuracy, group_interval, join_results
from lsn.evaluation.metrics import compute_metrics
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import result_of_scores
from lsn.evaluation.temperature import fit_temperature

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


def result_of(scores, labels, groups):
    """An evaluation with these scores."""
    clips = [
        Clip(f"{group}/{number}.mp4", LABELS[label], group=group)
        for number, (label, group) in enumerate(zip(labels.tolist(), groups, strict=True))
    ]
    return result_of_scores(clips, scores, source="fold.csv", protocol=PROTOCOL, labels=LABELS)


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
    assert joined.metrics == whole.metrics
    assert joined.metrics == compute_metrics(answers[0].log_softmax(1), answers[1], class_names=LABELS)
    assert torch.equal(joined.confusion, whole.confusion)
    assert [row.predicted for row in joined.rows] == [row.predicted for row in whole.rows]
    found = CrossValidation({(seed, fold): part for seed in (0, 1) for fold, part in enumerate(parts)})
    assert found.together().metrics == replace(joined.metrics, num_videos=80)
    assert found.together(calibrated=True).metrics.top1 == joined.metrics.top1


def test_other_labels_are_refused(answers):
    one = result_of(*answers)
    with pytest.raises(DataError, match="have no scores, or other labels"):
        join_results([one, replace(one, labels=tuple("hijklmn"))])


def test_clips_that_could_not_be_read_are_counted_once(answers):
    scores, labels, groups = answers
    whole = result_of(scores, labels, groups)
    lacking = replace(result_of(scores[:-1], labels[:-1], groups[:-1]), unreadable=((whole.rows[-1].path, "broken"),))
    found = CrossValidation({(0, 0): whole, (1, 0): lacking})
    assert found.num_clips == sum(group.num_clips for group in found.groups()) == 40
    assert found.unreadable == {whole.rows[-1].path: "broken"}


def test_no_temperature_for_means_of_probabilities(answers):
    scores, labels, groups = answers
    sure = result_of(5 * scores, labels, groups)
    assert sure.helpful_temperature() > 1.5
    several = replace(sure.protocol, num_clips=2, average="probabilities")
    assert replace(sure, protocol=several).helpful_temperature() == 1


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


def test_each_fold_has_the_temperature_of_the_others():
    """A network that is three times as sure as it is right, but on one fold, whose own answers do not help it."""
    generator = torch.Generator().manual_seed(1)
    true_logits = 2 * torch.randn(120, 7, generator=generator)
    labels = true_logits.softmax(1).multinomial(1, generator=generator)[:, 0]
    groups = [f"s{number // 10}" for number in range(120)]
    parts = [slice(0, 40), slice(40, 80), slice(80, 120)]
    results = {
        (0, fold): result_of(3 * true_logits[part], labels[part], groups[part]) for fold, part in enumerate(parts)
    }
    found = CrossValidation(results)
    calibrated, plain = found.calibrated(0), found.of_seed(0)
    assert calibrated.metrics.loss < plain.metrics.loss
    assert calibrated.metrics.calibration_error < plain.metrics.calibration_error
    assert [row.predicted for row in calibrated.rows] == [row.predicted for row in plain.rows]
    others = torch.cat([3 * true_logits[part] for part in parts[1:]])
    temperature = fit_temperature(others, torch.cat([labels[part] for part in parts[1:]]))
    torch.testing.assert_close(calibrated.scores_NK[:40], (3 * true_logits[:40] / temperature), atol=1e-5, rtol=1e-5)
