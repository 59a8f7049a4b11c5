"""Labels that a model doubts."""

import random
from dataclasses import replace

import pytest
import torch

from lsn.data import Clip
from lsn.errors import DataError
from lsn.evaluation.label_doubts import LabelDoubt, confident_classes, doubted_labels
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import EvaluationResult, result_of_scores

PROTOCOL = EvaluationProtocol(
    num_frames=2,
    size=32,
    short_side=32,
    sampling="segments",
    frame_stride=1,
    num_clips=1,
    num_crops=1,
    average="logits",
    batch_size=5,
)


def result(labels: str, probabilities: list[list[float]], names: str = "ab") -> EvaluationResult:
    clips = [Clip(f"{number}.mp4", label, line=number + 2) for number, label in enumerate(labels)]
    scores_NK = torch.tensor(probabilities).log()
    return result_of_scores(clips, scores_NK, source="s", protocol=PROTOCOL, labels=tuple(names))


def doubts_of(results: list[EvaluationResult]) -> list[LabelDoubt]:
    """Of the labels that were evaluated."""
    return doubted_labels(results, [row.clip for row in results[0].rows])


def test_the_confident_joint_by_hand() -> None:
    # The model is 0.7 sure of its own "a" on average (of 0.9, 0.8, 0.4) and 0.55 of "b" (of 0.6, 0.8, 0.25).
    probabilities = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.4, 0.6], [0.2, 0.8], [0.75, 0.25]]
    given = torch.tensor([0, 0, 0, 1, 1, 1])
    assert confident_classes(torch.tensor(probabilities), given).tolist() == [0, 0, 1, 1, 1, 0]

    found = doubts_of([result("aaabbb", probabilities)])

    assert [(doubt.clip.line, doubt.clip.label, doubt.suggested) for doubt in found] == [(7, "b", "a"), (4, "a", "b")]
    assert found[0].probability == pytest.approx(0.25) and found[0].suggested_probability == pytest.approx(0.75)


def test_a_class_that_is_always_named_with_little_confidence_is_not_doubted() -> None:
    probabilities = [[0.45, 0.55], [0.4, 0.6], [0.45, 0.55], [0.02, 0.98], [0.05, 0.95]]
    assert doubts_of([result("aaabb", probabilities)]) == []  # 0.6 is less than it is sure of its own "b"


def test_a_class_without_clips_suggests_nothing() -> None:
    assert doubts_of([result("ab", [[0.1, 0.1, 0.8], [0.1, 0.1, 0.8]], names="abc")]) == []
    assert confident_classes(torch.tensor([[0.5, 0.5], [0.3, 0.7]]), torch.tensor([0, 0])).tolist() == [0, -1]


def test_several_evaluations_of_a_clip_are_averaged() -> None:
    sure = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]]
    unsure = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.02, 0.98], [0.1, 0.9]]
    assert [doubt.clip.line for doubt in doubts_of([result("aabbb", sure)])] == [5]
    assert doubts_of([result("aabbb", sure), result("aabbb", unsure)]) == []


def test_labels_are_those_of_the_list_and_clips_that_were_not_seen_are_passed_over() -> None:
    seen = result("aabb", [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    clips = [replace(seen.rows[0].clip, label="b"), *(row.clip for row in seen.rows[1:]), Clip("new.mp4", "a")]
    assert doubts_of([seen]) == []
    assert [(doubt.clip.path, doubt.suggested) for doubt in doubted_labels([seen], clips)] == [("0.mp4", "a")]
    assert doubted_labels([seen], clips[-1:]) == []
    with pytest.raises(DataError, match="was evaluated without the label 'c'; evaluate again"):
        doubted_labels([seen], [replace(clips[0], label="c")])


@pytest.mark.parametrize("seed", range(5))
def test_flipped_labels_are_found(seed: int) -> None:
    """Of 400 clips in 8 classes 30 labels are wrong, and the model is right of four in five."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    names = "abcdefgh"
    truth = [rng.randrange(8) for _ in range(400)]
    scores_NK = torch.randn(400, 8, generator=generator)
    scores_NK[torch.arange(400), torch.tensor(truth)] += 2.4
    wrong = set(rng.sample(range(400), 30))
    given = [rng.choice([k for k in range(8) if k != true]) if n in wrong else true for n, true in enumerate(truth)]
    found = doubts_of([result("".join(names[k] for k in given), (2 * scores_NK).softmax(dim=1).tolist(), names=names)])

    numbers = [doubt.clip.line - 2 for doubt in found]
    assert len(wrong & set(numbers)) >= 15
    assert len(wrong & set(numbers[:30])) >= 12  # by chance two


def test_evaluations_that_do_not_fit() -> None:
    one = result("ab", [[0.9, 0.1], [0.1, 0.9]])
    with pytest.raises(DataError, match="s: an evaluation without scores or with other labels; evaluate again"):
        doubts_of([one, replace(one, scores_NK=None)])
    with pytest.raises(DataError, match="with other labels"):
        doubts_of([one, result("ab", [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]], names="abc")])
