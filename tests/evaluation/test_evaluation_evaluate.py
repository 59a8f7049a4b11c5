import random
from dataclasses import asdict, replace

import pytest
import torch
from small_recognizer import INPUT, LABELS, lively_model, run_two_processes

from lsn.config import EvaluationConfig
from lsn.data import Manifest, open_clip
from lsn.errors import DataError, ModelError, VideoError
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import load_evaluation
from lsn.models.weights import save_weights


@pytest.fixture(scope="module")
def protocol(model):
    return EvaluationProtocol.of(model, INPUT, EvaluationConfig(num_clips=2, num_crops=3, batch_size=8))


@pytest.fixture(scope="module")
def result(model, manifest, protocol):
    return evaluate(model, manifest, protocol, device="cpu")


def assert_same(one, other):
    """Two results agree, but for the rounding of float32."""
    assert [(row.path, row.label, row.predicted, row.top5) for row in one.rows] == [
        (row.path, row.label, row.predicted, row.top5) for row in other.rows
    ]
    for name in ("confidence", "label_probability"):
        expected = [getattr(row, name) for row in other.rows]
        assert [getattr(row, name) for row in one.rows] == pytest.approx(expected, abs=1e-4)
    assert one.confusion.tolist() == other.confusion.tolist()
    assert one.unreadable == other.unreadable
    metrics, expected = asdict(one.metrics), asdict(other.metrics)
    assert metrics.pop("classes_without_samples") == expected.pop("classes_without_samples")
    assert metrics == pytest.approx(expected, abs=1e-4)


def test_each_video_is_predicted_from_the_mean_of_its_views(model, manifest, protocol, result):
    assert [row.path for row in result.rows] == [clip.path for clip in manifest.clips]
    assert len({row.predicted for row in result.rows}) > 1, "a constant answer would prove nothing"
    for row, clip in zip(result.rows, manifest.clips, strict=True):
        with open_clip(clip) as reader, torch.no_grad():
            views, _ = protocol(reader, 0, random.Random(0))
            probabilities = model(views).mean(dim=0).softmax(dim=0)
        order = sorted(range(len(LABELS)), key=lambda k: -probabilities[k])
        assert row.top5 == tuple(LABELS[k] for k in order[:5])
        assert row.predicted == row.top5[0]
        assert row.correct == (row.predicted == clip.label)
        assert row.confidence == pytest.approx(float(probabilities.max()), abs=1e-4)
        assert row.label_probability == pytest.approx(float(probabilities[LABELS.index(clip.label)]), abs=1e-4)


def test_the_figures_follow_from_the_rows(result):
    rows = result.rows
    assert result.metrics.num_videos == len(rows) == 7
    assert result.metrics.top1 == pytest.approx(sum(row.correct for row in rows) / 7)
    assert result.metrics.top5 == pytest.approx(sum(row.label in row.top5 for row in rows) / 7)
    assert result.metrics.classes_without_samples == ("spin",)
    for true, row in enumerate(result.confusion.tolist()):
        for predicted, count in enumerate(row):
            pair = (LABELS[true], LABELS[predicted])
            assert count == sum((r.label, r.predicted) == pair for r in rows)


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (5, 0), (64, 2)])
def test_batches_and_workers_do_not_change_the_result(model, manifest, protocol, result, batch_size, num_workers):
    changed = replace(protocol, batch_size=batch_size)
    assert_same(evaluate(model, manifest, changed, device="cpu", num_workers=num_workers), result)


def test_no_pass_has_more_views_than_the_batch_size(model, manifest, protocol, monkeypatch):
    sizes = []
    forward = type(model).forward_frames
    counted = lambda self, clip: (sizes.append(len(clip)), forward(self, clip))[1]  # noqa: E731
    monkeypatch.setattr(type(model), "forward_frames", counted)
    evaluate(model, manifest, replace(protocol, batch_size=4), device="cpu")
    assert sizes == [4, 2] * 7  # six views per video
    sizes.clear()
    evaluate(model, manifest, replace(protocol, num_clips=1, batch_size=7), device="cpu")
    assert sizes == [6, 6, 6, 3]  # three views per video, two videos a pass


def test_unreadable_videos_stop_it_or_are_listed(model, broken_manifest, protocol, result, videos):
    with pytest.raises(VideoError, match=r"empty\.mp4"):
        evaluate(model, broken_manifest, protocol, device="cpu")
    skipped = evaluate(model, broken_manifest, protocol, device="cpu", on_unreadable="skip")
    assert [path for path, _ in skipped.unreadable] == [str(videos / "empty.mp4"), str(videos / "missing.mp4")]
    assert_same(replace(skipped, unreadable=()), result)


def test_nothing_to_evaluate_on_is_an_error(model, broken_manifest, protocol):
    nothing = Manifest("none.csv", LABELS, ())
    with pytest.raises(DataError, match="no videos to evaluate on"):
        evaluate(model, nothing, protocol, device="cpu")
    unreadable = replace(broken_manifest, clips=(broken_manifest.clips[3],))
    with pytest.raises(DataError, match=r"none of the 1 videos .*empty\.mp4"):
        evaluate(model, unreadable, protocol, device="cpu", on_unreadable="skip")


def test_a_model_of_other_classes_is_refused(model, manifest, protocol):
    with pytest.raises(ModelError, match="5 labels for a model of 6 classes"):
        evaluate(model, replace(manifest, labels=LABELS[:5]), protocol, device="cpu")


def test_scores_that_are_not_finite_are_refused(manifest, protocol):
    diverged = lively_model()
    with torch.no_grad():
        diverged.get_classifier().bias[2] = float("nan")
    with pytest.raises(ModelError, match=r"0\.mp4: .*not finite"):
        evaluate(diverged, manifest, protocol, device="cpu")


def test_every_module_keeps_its_mode_and_nothing_else_changes(manifest, protocol, result):
    training = lively_model().train()
    norms = [module for module in training.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    norms[0].eval()
    before = {name: tensor.clone() for name, tensor in training.state_dict().items()}
    assert_same(evaluate(training, manifest, protocol, device="cpu"), result)
    assert training.training
    assert [norm.training for norm in norms] == [False] + [True] * (len(norms) - 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.state_dict().items())
    assert all(parameter.requires_grad for parameter in training.parameters())


def test_progress_counts_every_video_to_the_end(model, broken_manifest, protocol):
    calls = []
    evaluate(
        model,
        broken_manifest,
        protocol,
        device="cpu",
        on_unreadable="skip",
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 9) for done in range(1, 10)]


TWO_PROCESSES = """
import sys
from dataclasses import replace
from pathlib import Path
import torch.distributed as dist
from lsn.config import EvaluationConfig
from lsn.data import read_manifest
from lsn.errors import VideoError
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models.weights import load_weights

rank = int(sys.argv[1])
weights, source, out = map(Path, sys.argv[2:])
dist.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=2)
loaded = load_weights(weights)
protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig(num_clips=2, num_crops=3))
manifest = read_manifest(source, labels=loaded.labels)
evaluate(loaded.model, manifest, protocol, device="cpu", on_unreadable="skip").save(out / str(rank))
try:  # of these videos only one cannot be read, and only the second process meets it
    evaluate(loaded.model, replace(manifest, clips=manifest.clips[:8]), protocol, device="cpu")
except VideoError as error:
    (out / str(rank) / "error.txt").write_text(str(error))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_see_each_video_once_and_both_get_the_whole_result(
    model, broken_manifest, protocol, videos, tmp_path
):
    save_weights(tmp_path / "weights", model, labels=LABELS, input=INPUT, metrics={})
    run_two_processes(TWO_PROCESSES, tmp_path, tmp_path / "weights", videos / "broken.csv", tmp_path)
    alone = evaluate(model, broken_manifest, protocol, device="cpu", on_unreadable="skip")
    for rank in "01":
        assert_same(load_evaluation(tmp_path / rank), alone)
        assert "empty.mp4" in (tmp_path / rank / "error.txt").read_text()
