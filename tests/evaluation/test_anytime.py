"""How soon a model knows: the measures against plain loops, and the evaluation that they come from."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_recognizer import INPUT, LABELS, lively_model, run_two_processes

from lsn.config import EvaluationConfig
from lsn.data import open_clip
from lsn.errors import ConfigError, DataError, ModelError
from lsn.evaluation.anytime import decision_frames, measure_anytime
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import load_evaluation
from lsn.evaluation.running import CumulativePredictions, cumulative_scores
from lsn.inference.predictor import Predictor
from lsn.models.weights import save_weights
from lsn.scores import log_softmax


@pytest.fixture(scope="module")
def protocol(model):
    return EvaluationProtocol.of(model, INPUT, EvaluationConfig(num_crops=3, batch_size=8))


@pytest.fixture(scope="module")
def result(model, manifest, protocol):
    return evaluate(model, manifest, protocol, device="cpu", anytime=True)


def flat(value):
    """All numbers of nested plain data, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for item in value for number in flat(item)]
    return [math.nan if value is None else float(value)]


def assert_same(one, other):
    assert flat(asdict(one)) == pytest.approx(flat(asdict(other)), abs=1e-4, nan_ok=True)


@st.composite
def runs(draw):
    """The running answers on a few videos, and their labels."""
    num_videos, num_frames = draw(st.integers(1, 12)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    logits_NTK = 2 * torch.randn(num_videos, 1, num_frames, 3, generator=generator)
    seconds_NT = torch.rand(num_videos, num_frames, generator=generator, dtype=torch.float64).cumsum(dim=1)
    labels_N = torch.randint(0, 3, (num_videos,), generator=generator)
    log_probabilities_NTK = cumulative_scores(logits_NTK.numpy(), lambda x_NVK: log_softmax(x_NVK[:, 0]), None)
    return CumulativePredictions.of(torch.from_numpy(log_probabilities_NTK), seconds_NT), labels_N


def decided_by_hand(answers):
    """The first number of frames from which on the answer does not change."""
    return next(t for t in range(1, len(answers) + 1) if set(answers[t - 1 :]) == {answers[-1]})


def reached_by_hand(values, share):
    """The smallest of the values that at least this share of them does not exceed."""
    return min(v for v in values if sum(other <= v for other in values) >= share * len(values))


@given(runs())
def test_the_measures_are_those_of_plain_loops(run):
    running, labels_N = run
    measured = measure_anytime(running, labels_N)
    answers, labels = running.answers_NT.tolist(), labels_N.tolist()
    num_frames = len(answers[0])
    for t in range(num_frames):
        right = sum(row[t] == label for row, label in zip(answers, labels, strict=True))
        assert measured.top1[t] == pytest.approx(right / len(labels))

    assert decision_frames(running.answers_NT).tolist() == [decided_by_hand(row) for row in answers]
    good = [index for index, row in enumerate(answers) if row[-1] == labels[index]]
    frames = [decided_by_hand(answers[index]) for index in good]
    assert measured.decided == tuple(frames.count(t) for t in range(1, num_frames + 1))
    if not good:
        assert measured.decision is None
        return
    seconds = [running.seconds_NT[index, t - 1].item() for index, t in zip(good, frames, strict=True)]
    assert measured.decision.median_fraction == pytest.approx(reached_by_hand(frames, 0.5) / num_frames)
    assert measured.decision.p90_fraction == pytest.approx(reached_by_hand(frames, 0.9) / num_frames)
    assert measured.decision.median_seconds == pytest.approx(reached_by_hand(seconds, 0.5))
    assert measured.decision.p90_seconds == pytest.approx(reached_by_hand(seconds, 0.9))


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("readout_frames", [None, 1, 2, 5, 8])
def test_the_running_answer_is_that_of_the_clip_cut_short(protocol, average, readout_frames):
    combine = replace(protocol, average=average).combine
    logits_NVTK = np.random.default_rng(1).normal(size=(4, 3, 5, 6)).astype(np.float32)
    running_NTK = cumulative_scores(logits_NVTK, combine, readout_frames)
    for t in range(1, 6):
        seen_NVTK = logits_NVTK[:, :, max(0, t - (readout_frames or 5)) : t]
        assert np.allclose(running_NTK[:, t - 1], combine(seen_NVTK.mean(axis=2)), atol=1e-5)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (8, [1, 2, 4, 6, 8]), (16, [2, 4, 8, 12, 16])],
)
def test_the_milestones_are_near_eighths_and_none_comes_twice(num_frames, expected):
    running = CumulativePredictions(
        *[torch.zeros(1, num_frames, dtype=kind) for kind in (int, torch.float32, torch.float64)]
    )
    assert measure_anytime(running, torch.tensor([0])).milestones() == expected


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_the_rest_of_the_evaluation_stays_the_same(model, manifest, protocol, average):
    changed = replace(protocol, average=average)
    plain = evaluate(model, manifest, changed, device="cpu")
    followed = evaluate(model, manifest, changed, device="cpu", anytime=True)
    assert plain.anytime is None
    metrics, expected = asdict(followed.metrics), asdict(plain.metrics)
    assert metrics.pop("classes_without_samples") == expected.pop("classes_without_samples")
    assert metrics == pytest.approx(expected, abs=1e-4)
    assert [row.top5 for row in followed.rows] == [row.top5 for row in plain.rows]
    assert followed.anytime.top1[-1] == followed.metrics.top1
    assert sum(followed.anytime.decided) == sum(row.correct for row in followed.rows)


def test_it_follows_what_the_predictor_says_on_the_way(loaded, manifest, protocol, result):
    predictor = Predictor(loaded, device="cpu", evaluation=EvaluationConfig(num_crops=3))
    right, seconds = [], []
    for clip in manifest.clips:
        prediction = predictor(clip.path)
        answers = prediction.cumulative_probabilities_TK().argmax(axis=1).tolist()
        label = LABELS.index(clip.label)
        right.append([answer == label for answer in answers])
        if right[-1][-1]:
            with open_clip(clip) as reader:
                start = reader.pts_seconds[0].item()
            seconds.append(prediction.frame_pts_seconds[decided_by_hand(answers) - 1] - start)
    assert result.anytime.top1 == pytest.approx([sum(column) / 7 for column in zip(*right, strict=True)])
    assert len(set(result.anytime.top1)) > 1, "a constant answer would prove nothing"
    assert result.anytime.decision.median_seconds == pytest.approx(reached_by_hand(seconds, 0.5))
    assert result.anytime.decision.p90_seconds == pytest.approx(reached_by_hand(seconds, 0.9))


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (5, 0), (64, 2)])
def test_batches_and_workers_do_not_change_it(model, manifest, protocol, result, batch_size, num_workers):
    changed = replace(protocol, batch_size=batch_size)
    again = evaluate(model, manifest, changed, device="cpu", num_workers=num_workers, anytime=True)
    assert_same(again.anytime, result.anytime)


@pytest.mark.parametrize(("sampling", "num_clips"), [("segments", 1), ("dense", 1), ("dense", 2)])
def test_the_times_of_frames_count_from_the_start_of_the_clip(manifest, protocol, sampling, num_clips):
    changed = replace(protocol, sampling=sampling, frame_stride=2, num_clips=num_clips)
    with open_clip(replace(manifest.clips[6], first_frame=3, last_frame=14)) as reader:
        seconds = changed.seconds(reader)
        assert reader.pts_seconds[0].item() == pytest.approx(0.3)  # of a file with ten frames per second
        assert seconds.tolist() == pytest.approx((changed.read(reader).pts_seconds - 0.3).tolist())
        assert seconds.shape == (4 * num_clips,)


def test_unreadable_videos_are_left_out_of_it(model, broken_manifest, protocol, result):
    skipped = evaluate(model, broken_manifest, protocol, device="cpu", on_unreadable="skip", anytime=True)
    assert len(skipped.unreadable) == 2
    assert_same(skipped.anytime, result.anytime)


TWO_PROCESSES = """
import sys
from dataclasses import replace
from pathlib import Path
import torch.distributed as dist
from lsn.config import EvaluationConfig
from lsn.data import read_manifest
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models.weights import load_weights

rank = int(sys.argv[1])
weights, source, out = map(Path, sys.argv[2:])
dist.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=2)
loaded = load_weights(weights)
protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig(num_crops=3))
manifest = read_manifest(source, labels=loaded.labels)
options = {"device": "cpu", "on_unreadable": "skip", "anytime": True}
evaluate(loaded.model, manifest, protocol, **options).save(out / str(rank))
one = replace(manifest, clips=manifest.clips[:1])  # the second process has nothing to do
evaluate(loaded.model, one, protocol, **options).save(out / f"one{rank}")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_measure_the_same(model, broken_manifest, protocol, result, videos, tmp_path):
    save_weights(tmp_path / "weights", model, labels=LABELS, input=INPUT, metrics={})
    run_two_processes(TWO_PROCESSES, tmp_path, tmp_path / "weights", videos / "broken.csv", tmp_path)
    one = replace(broken_manifest, clips=broken_manifest.clips[:1])
    alone = evaluate(model, one, protocol, device="cpu", anytime=True)
    for rank in "01":
        assert_same(load_evaluation(tmp_path / rank).anytime, result.anytime)
        assert_same(load_evaluation(tmp_path / f"one{rank}").anytime, alone.anytime)
    assert alone.anytime.early_exit.tested is None


def test_it_reads_back_what_was_saved(result, tmp_path):
    result.save(tmp_path)
    assert load_evaluation(tmp_path).anytime == result.anytime
    replace(result, anytime=None).save(tmp_path)
    assert load_evaluation(tmp_path).anytime is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda anytime: anytime.pop("top1"),
        lambda anytime: anytime.update(top1="all"),
        lambda anytime: anytime["early_exit"].update(fitted=None),
        lambda anytime: anytime["early_exit"]["curve"].append(3),
    ],
)
def test_a_damaged_file_is_named(result, tmp_path, damage):
    result.save(tmp_path)
    path = tmp_path / "evaluation.json"
    summary = json.loads(path.read_text())
    damage(summary["anytime"])
    path.write_text(json.dumps(summary))
    with pytest.raises(DataError, match=r"evaluation\.json: not a whole evaluation"):
        load_evaluation(tmp_path)


def test_the_wanted_accuracy_reaches_the_fit(model, manifest, protocol):
    stop = evaluate(model, manifest, protocol, device="cpu", anytime=True, wanted_top1=0.0).anytime.early_exit
    assert (stop.wanted_top1, stop.goal, stop.fitted.result.mean_frames) == (0.0, 0.0, 1.0)


def test_a_model_that_looks_ahead_is_refused(manifest, protocol):
    with pytest.raises(ModelError, match=r"bidirectional shift looks one frame ahead; .*model\.shift=causal"):
        evaluate(lively_model(shift="bidirectional"), manifest, protocol, device="cpu", anytime=True)


def test_several_clips_are_refused(model, manifest, protocol):
    with pytest.raises(ConfigError, match=r"2 clips per video; use one \(--clips 1\)"):
        evaluate(model, manifest, replace(protocol, num_clips=2), device="cpu", anytime=True)


@pytest.mark.parametrize("wanted", [-0.01, 1.01, 95])
def test_an_accuracy_outside_0_to_1_is_refused_before_anything_is_read(model, broken_manifest, protocol, wanted):
    with pytest.raises(ConfigError, match="must be between 0 and 1"):
        evaluate(model, broken_manifest, protocol, device="cpu", anytime=True, wanted_top1=wanted)


def test_a_wanted_accuracy_without_a_stop_is_refused(model, manifest, protocol):
    with pytest.raises(ConfigError, match=r"add anytime=True"):
        evaluate(model, manifest, protocol, device="cpu", wanted_top1=0.9)
