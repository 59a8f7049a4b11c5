from pathlib import Path

import pytest
from report_helpers import evaluation, prediction

from lsn.models.cost import ModelCost, StageCost
from lsn.report.overview import wilson_interval
from lsn.report.results import calibration, class_accuracy, confusion_figures, cost_table, learning_curves
from lsn.report.run import Run


@pytest.mark.parametrize("num_classes", [2, 25, 40])
def test_the_matrix_is_a_table_with_names_and_counts(num_classes: int) -> None:
    labels = [f"class {index}" for index in range(num_classes)]
    confusion = [[2 if row == column else 0 for column in range(num_classes)] for row in range(num_classes)]
    confusion[0][1] = 3
    markup = confusion_figures(confusion, labels)
    assert markup.count("<td ") >= num_classes * num_classes
    assert 'title="class 0 → class 1: 3 of 5"' in markup
    assert (">3</td>" in markup) == (num_classes <= 25)
    assert "<td>class 0</td><td>class 1</td>" in markup and "3 of 5</td>" in markup


def test_the_matrix_of_many_classes_is_a_drawing() -> None:
    labels = [f"class {index}" for index in range(174)]
    confusion = [[int(row == column) for column in range(174)] for row in range(174)]
    markup = confusion_figures(confusion, labels)
    assert markup.count("<rect") == 174 + 1
    assert "Not one video was confused" in markup


def test_classes_are_sorted_weakest_first_and_empty_ones_are_said() -> None:
    markup = class_accuracy([[1, 1, 0], [0, 4, 0], [0, 0, 0]], ["half", "all", "<none>"])
    assert markup.index("half") < markup.index(">all<")
    assert "50%" in markup and "1/2" in markup and "100%" in markup
    assert "without a bar: &lt;none&gt;" in markup


def test_many_classes_fold_the_better_ones() -> None:
    labels = [f"class {index}" for index in range(60)]
    confusion = [[(index + 1 if row == column else 0) for column in range(60)] for index, row in enumerate(range(60))]
    assert "The other 40 classes" in class_accuracy(confusion, labels)


def test_calibration_puts_each_video_in_its_bin() -> None:
    rows = [prediction("a", guess, sure) for guess, sure in [("a", 0.99), ("b", 0.97), ("a", 0.5), ("b", 1.0)]]
    markup = calibration(evaluation(["a", "b"], rows))
    assert "confidence 93% to 100%: 1 of 3 right" in markup
    assert "confidence 47% to 53%: 1 of 1 right" in markup
    assert "calibration error 12.5%" in markup


def test_curves_without_validation_are_drawn_and_said() -> None:
    train = [{"kind": "train", "epoch": 0.1 * i, "loss": 1.0, "top1": 0.5, "learning_rate": 0.1} for i in range(400)]
    markup = learning_curves(Run(Path("r"), Path("r"), train=train))
    assert "No validation is on record yet" in markup and "validation</span>" not in markup
    points = markup.split('points="')[1].split('"')[0].split()
    assert 50 <= len(points) <= 60


def test_numbers_that_are_none_are_left_out_of_curves() -> None:
    nan = float("nan")
    val = [{"epoch": 1, "loss": nan, "top1": 0.5}, {"epoch": 2, "loss": None, "top1": nan}, {"epoch": "x", "top1": 1.0}]
    markup = learning_curves(Run(Path("r"), Path("r"), val=val))
    assert markup.count("<svg") == 1 and markup.count("<circle") == 1
    assert "nan" not in markup.lower().replace("accuracy", "")


def test_the_cost_table_adds_up() -> None:
    stages = (
        StageCost("layer1", 1000, 3_000_000_000, 2048, 0, (64, 8, 8)),
        StageCost("memory 0", 234, 1_000_000_000, 1024**2, 4096, (64, 8, 8)),
    )
    markup = cost_table(ModelCost(stages), size=64, num_frames=8)
    for text in ("1,234", "4.000", "1.0 MiB", "4.0 KiB", "64 × 8 × 8", "width:75.0%", "8 frames at 64 × 64"):
        assert text in markup


def test_the_interval_is_wilsons() -> None:
    low, high = wilson_interval(0.9, 50)  # R: binom::binom.wilson(45, 50)
    assert low == pytest.approx(0.7864, abs=1e-4) and high == pytest.approx(0.9565, abs=1e-4)
    assert wilson_interval(1.0, 10)[1] == 1.0 and wilson_interval(0.0, 0) == (0.0, 1.0)
