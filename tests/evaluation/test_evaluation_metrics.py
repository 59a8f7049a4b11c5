import warnings
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from lsn.evaluation.metrics import (
    calibration_error,
    compute_metrics,
    confusion_matrix,
    rank_classes,
    risk_coverage_area,
)

NAMES = [f"class {index}" for index in range(174)]


@given(
    seed=st.integers(0, 10**6), num_videos=st.integers(1, 60), num_classes=st.integers(2, 30), sure=st.floats(0.1, 40)
)
def test_metrics_equal_those_of_torchmetrics_and_sklearn(seed, num_videos, num_classes, sure):
    generator = torch.Generator().manual_seed(seed)
    log_probabilities = (sure * torch.randn(num_videos, num_classes, generator=generator)).log_softmax(dim=1)
    probabilities = log_probabilities.exp()
    labels = torch.randint(num_classes, (num_videos,), generator=generator)
    predicted = probabilities.argmax(dim=1)

    metrics = compute_metrics(log_probabilities, labels, class_names=NAMES[:num_classes])

    def accuracy(k):
        return multiclass_accuracy(
            log_probabilities, labels, num_classes=num_classes, top_k=min(k, num_classes), average="micro"
        )

    assert metrics.num_videos == num_videos
    assert metrics.top1 == pytest.approx(accuracy(1).item())
    assert metrics.top5 == pytest.approx(accuracy(5).item())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns of classes that are predicted but have no samples
        assert metrics.mean_class_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert metrics.loss == pytest.approx(torch.nn.functional.nll_loss(log_probabilities, labels).item(), rel=1e-5)
    theirs = multiclass_calibration_error(probabilities, labels, num_classes=num_classes, n_bins=15, norm="l1")
    assert metrics.calibration_error == pytest.approx(theirs.item(), abs=1e-5)
    present = set(labels.tolist())
    assert metrics.classes_without_samples == tuple(NAMES[k] for k in range(num_classes) if k not in present)


@given(st.data())
def test_confusion_matrix_equals_sklearns(data):
    num_classes = data.draw(st.integers(1, 20))
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, num_classes - 1)] * 2), min_size=1, max_size=50))
    predicted, labels = torch.tensor(pairs).T
    ours = confusion_matrix(predicted, labels, num_classes=num_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns of a single label, even where all are named
        theirs = sklearn_confusion_matrix(labels, predicted, labels=range(num_classes))
    assert np.array_equal(ours.numpy(), theirs)


@given(
    confidences=st.lists(
        st.one_of(st.floats(0.5, 1, width=32), st.sampled_from([k / 15 for k in range(8, 16)])), min_size=1, max_size=40
    ),
    seed=st.integers(0, 1000),
)
def test_calibration_error_equals_torchmetrics_on_the_edges_of_bins_too(confidences, seed):
    confidences = torch.tensor(confidences, dtype=torch.float32)
    right = torch.rand(len(confidences), generator=torch.Generator().manual_seed(seed)) < 0.7
    # Two classes: the first has the confidence, and is the true one where the prediction is right.
    probabilities = torch.stack([confidences, 1 - confidences], dim=1)
    theirs = multiclass_calibration_error(probabilities, (~right).long(), num_classes=2, n_bins=15, norm="l1")
    assert calibration_error(confidences, right) == pytest.approx(theirs.item(), abs=1e-5)


def test_calibration_error_by_hand():
    # 0.92 and 0.90 share the bin from 14/15 down to 13/15: accuracy 1/2 against 0.91. 0.6 is alone and right.
    error = calibration_error(torch.tensor([0.92, 0.90, 0.6]), torch.tensor([True, False, True]))
    assert error == pytest.approx((2 * abs(0.5 - 0.91) + abs(1 - 0.6)) / 3)


@pytest.mark.parametrize(
    ("confidences", "right", "expected"),
    [
        ([0.9, 0.8, 0.7], [True, True, False], (0 + 0 + 1 / 3) / 3),
        ([0.7, 0.9, 0.8], [True, False, True], (1 + 1 / 2 + 1 / 3) / 3),
    ],
)
def test_area_under_risk_coverage_by_hand(confidences, right, expected):
    assert risk_coverage_area(torch.tensor(confidences), torch.tensor(right)) == pytest.approx(expected)


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_area_under_risk_coverage_is_the_mean_over_the_orders_of_equals(videos):
    areas = []
    for order in permutations(videos):
        if [confidence for confidence, _ in order] == sorted((confidence for confidence, _ in order), reverse=True):
            risks = [np.mean([not right for _, right in order[:number]]) for number in range(1, len(order) + 1)]
            areas.append(np.mean(risks))
    confidences, right = (torch.tensor(column) for column in zip(*videos, strict=True))
    assert risk_coverage_area(confidences, right) == pytest.approx(np.mean(areas))


def test_ties_go_to_the_first_class_in_label_order():
    same = torch.full((174, 174), 1 / 174).log()
    metrics = compute_metrics(same, torch.arange(174), class_names=NAMES)
    assert metrics.top1 == pytest.approx(1 / 174)
    assert metrics.top5 == pytest.approx(5 / 174)
    assert rank_classes(torch.tensor([[1.0, 3.0, 1.0, 3.0, 2.0]])).tolist() == [[1, 3, 4, 0, 2]]


def test_top5_of_fewer_than_five_classes_is_always_right():
    scores = torch.tensor([[0.0, -9.0, -99.0]]).log_softmax(dim=1)
    assert compute_metrics(scores, torch.tensor([2]), class_names=NAMES[:3]).top5 == 1.0


def test_classes_without_samples_are_left_out_of_the_mean_and_named():
    # a: 1 of 2 right, b: no videos, c: 1 of 1 right
    scores = torch.eye(3)[[0, 1, 2]].log_softmax(dim=1)
    metrics = compute_metrics(scores, torch.tensor([0, 0, 2]), class_names=["a", "b", "c"])
    assert metrics.mean_class_accuracy == pytest.approx((1 / 2 + 1) / 2)
    assert metrics.classes_without_samples == ("b",)


def test_a_sure_mistake_has_a_finite_loss():
    scores = torch.tensor([[500.0, 0.0]]).log_softmax(dim=1)  # a probability of 0 in float32
    assert compute_metrics(scores, torch.tensor([1]), class_names=["a", "b"]).loss == pytest.approx(500)
