import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_recognizer import INPUT, LABELS, lively_model, noisy_frames

import lsn.models.weights as weights_module
from lsn.config import EvaluationConfig
from lsn.errors import ConfigError, ModelError, VideoError, WeightsError
from lsn.evaluation.evaluate import evaluate
from lsn.inference.predictor import Prediction, Predictor
from lsn.models.weights import LoadedModel, save_weights
from lsn.video import array_reader, open_video


@pytest.fixture(scope="module")
def predictor(loaded):
    return Predictor(loaded, device="cpu")


def test_a_file_is_predicted_as_by_hand(predictor, model, videos):
    prediction = predictor(videos / "4.mp4")
    with open_video(videos / "4.mp4") as reader, torch.no_grad():
        views, _ = predictor.protocol(reader, 0, random.Random(0))
        logits_TK = model.forward_frames(views)[0]
    assert prediction.video == str(videos / "4.mp4")
    assert prediction.labels == LABELS
    assert np.allclose(prediction.probabilities, logits_TK.mean(dim=0).softmax(dim=0), atol=1e-5)
    assert np.allclose(prediction.frame_probabilities_TK, logits_TK.softmax(dim=1), atol=1e-5)
    assert np.allclose(prediction.frame_pts_seconds, [0.1, 0.4, 0.6, 0.9])  # of 11 frames, 10 a second
    assert prediction.probabilities.dtype == prediction.frame_probabilities_TK.dtype == np.float32
    assert set(prediction.timings_ms) == {"decode", "transform", "model"}
    assert all(milliseconds > 0 for milliseconds in prediction.timings_ms.values())


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_it_says_what_the_evaluation_says(loaded, manifest, average):
    views = EvaluationConfig(num_clips=2, num_crops=3, average=average, batch_size=4)
    predictor = Predictor(loaded, device="cpu", evaluation=views)
    result = evaluate(loaded.model, manifest, predictor.protocol, device="cpu")
    for row in result.rows:
        prediction = predictor(row.path)
        assert prediction.label == row.predicted
        assert prediction.top(5)[0][1] == pytest.approx(row.confidence, abs=1e-4)
        assert tuple(label for label, _ in prediction.top(5)) == row.top5


def test_path_bytes_array_tensor_and_folder_are_one_video(predictor, videos, tmp_path):
    path = videos / "6.mp4"
    with open_video(path) as reader:
        frames = reader.frames_at(range(reader.num_frames)).frames_THWC
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"img_{number:05d}.png")
    expected = predictor(str(path))
    others = [
        predictor(path.read_bytes()),
        predictor(torch.from_numpy(frames), fps=10),
        predictor(frames, fps=10),
        predictor(tmp_path, fps=10),
    ]
    for prediction in others:
        assert np.allclose(prediction.probabilities, expected.probabilities, atol=1e-5)
        assert np.allclose(prediction.frame_pts_seconds, expected.frame_pts_seconds)


def test_frames_of_several_clips_stand_in_the_order_of_time(loaded, model):
    predictor = Predictor(loaded, device="cpu", evaluation=EvaluationConfig(num_clips=2, num_crops=3))
    frames = noisy_frames(50, num_frames=40)
    prediction = predictor(frames, fps=1)
    assert prediction.frame_pts_seconds.tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    views, _ = predictor.protocol(array_reader(frames, fps=1), 0, random.Random(0))
    with torch.no_grad():
        centres, starts = model.forward_frames(views).unflatten(0, (2, 3)).mean(dim=1)
    expected = torch.stack([starts, centres], dim=1).flatten(0, 1).softmax(dim=1)
    assert np.allclose(prediction.frame_probabilities_TK, expected, atol=1e-5)


def test_the_running_answer_of_a_causal_model_is_its_answer_had_the_video_ended(predictor, model, videos):
    cumulative_probabilities_TK = predictor(videos / "6.mp4").cumulative_probabilities_TK()
    with open_video(videos / "6.mp4") as reader, torch.no_grad():
        views, _ = predictor.protocol(reader, 0, random.Random(0))
        for frames_so_far in range(1, 5):
            expected = model(views[:, :frames_so_far])[0].softmax(dim=0)
            assert np.allclose(cumulative_probabilities_TK[frames_so_far - 1], expected, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"shift": "bidirectional"}, {"readout_frames": 2}])
@pytest.mark.parametrize("evaluation", [EvaluationConfig(), EvaluationConfig(num_clips=3, num_crops=3)])
def test_the_running_answer_ends_in_the_answer(videos, options, evaluation):
    loaded = LoadedModel(lively_model(**options), LABELS, INPUT, {})
    prediction = Predictor(loaded, device="cpu", evaluation=evaluation)(videos / "5.mp4")
    if evaluation.num_clips == 1 or "readout_frames" not in options:  # the last frames of several clips lie apart
        assert np.allclose(prediction.cumulative_probabilities_TK()[-1], prediction.probabilities, atol=1e-5)
    assert np.allclose(prediction.cumulative_probabilities_TK().sum(axis=1), 1, atol=1e-5)


def made_prediction(probabilities, log_evidence=((0.0,),)):
    probabilities = np.array(probabilities, dtype=np.float32)
    labels = tuple(f"class {index}" for index in range(len(probabilities)))
    evidence = np.array(log_evidence, dtype=np.float32)
    return Prediction("video", labels, probabilities, evidence, np.arange(len(evidence)) / 2, {"model": 1.0})


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12), st.integers(1, 15))
def test_top_k_is_the_k_likeliest_and_the_first_of_equals(probabilities, k):
    expected = sorted(range(len(probabilities)), key=lambda index: (-probabilities[index], index))[:k]
    assert made_prediction(probabilities).top(k) == [(f"class {index}", probabilities[index]) for index in expected]


def test_top_of_less_than_one_label_is_refused():
    with pytest.raises(ConfigError, match="top 0"):
        made_prediction([1.0]).top(0)


def test_evidence_far_below_float32_still_counts():
    # The first frame is sure of class 0 by 200 nats, the second of class 1 by 150: class 0 leads by 50 / 2.
    prediction = made_prediction([1.0, 0.0], [[0.0, -200.0], [-150.0, 0.0]])
    assert prediction.cumulative_probabilities_TK()[-1][1] == pytest.approx(np.exp(-25), rel=1e-3)


def test_to_dict_is_json_with_everything(predictor, videos):
    prediction = predictor(videos / "4.mp4")
    data = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    assert data["label"] == prediction.label
    assert [(entry["label"], entry["probability"]) for entry in data["top5"]] == prediction.top(5)
    assert (
        dict(zip(data["labels"], data["probabilities"], strict=True))[data["label"]] == data["top5"][0]["probability"]
    )
    assert np.allclose(data["frame_probabilities"], prediction.frame_probabilities_TK)
    assert data["frame_pts_seconds"] == prediction.frame_pts_seconds.tolist()


def test_a_weights_folder_is_loaded_once(model, videos, tmp_path, monkeypatch):
    save_weights(tmp_path / "weights", model, labels=LABELS, input=INPUT, metrics={})
    loads = []
    load = weights_module.load_weights
    monkeypatch.setattr(weights_module, "load_weights", lambda folder: (loads.append(folder), load(folder))[1])
    predictor = Predictor(tmp_path / "weights", device="cpu")
    first, second = predictor(videos / "3.mp4"), predictor(videos / "3.mp4")
    assert len(loads) == 1
    assert np.array_equal(first.probabilities, second.probabilities)
    assert first.probabilities == pytest.approx(Predictor(str(tmp_path / "weights"))(videos / "3.mp4").probabilities)


FRAMES = np.zeros((4, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("video", "fps", "message"),
    [
        (FRAMES, None, "give its rate"),
        (FRAMES, 0, "above 0"),
        (FRAMES, -5, "above 0"),
        (FRAMES, float("nan"), "above 0"),
        (FRAMES.astype(np.float32), 10, "expected uint8 frames"),
        (torch.zeros(4, 16, 16, 3), 10, "expected uint8 frames"),
        (FRAMES[..., :2], 10, "expected uint8 frames"),
        (FRAMES[0], 10, "expected uint8 frames"),
        (FRAMES[:0], 10, "expected uint8 frames"),
        (b"", None, "empty"),
        (b"not a video", None, "bytes"),
        (b"not a video", 10, "leave it out"),
        ([FRAMES], 10, "a list is not a video"),
        (None, None, "a NoneType is not a video"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(predictor, video, fps, message):
    with pytest.raises(VideoError, match=message) as caught:
        predictor(video, fps=fps)
    assert "\n" not in str(caught.value)


def test_bad_paths_are_named(predictor, videos):
    for name in ("empty.mp4", "nowhere.mp4"):
        with pytest.raises(VideoError, match=name):
            predictor(videos / name)
    with pytest.raises(VideoError, match=r"3\.mp4: fps=10 given"):
        predictor(videos / "3.mp4", fps=10)


def test_weights_and_devices_that_are_not_there(loaded, tmp_path):
    with pytest.raises(WeightsError, match="nowhere"):
        Predictor(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="'abacus'"):
        Predictor(loaded, device="abacus")


def test_scores_that_are_not_finite_are_refused(loaded, videos):
    damaged = lively_model()
    with torch.no_grad():
        damaged.get_classifier().weight[0, 0] = float("inf")
    with pytest.raises(ModelError, match=r"3\.mp4: .*not finite"):
        Predictor(replace(loaded, model=damaged), device="cpu")(videos / "3.mp4")
