"""Weights go to the Hub and come back from it, over HTTP, in processes of their own as elsewhere in the world."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import yaml
from hub_server import Hub, Repository
from hub_user import HubUser
from huggingface_hub import ModelCard
from safetensors.torch import load, save
from small_recognizer import INPUT, LABELS, RATES, lively_model
from warm_server import WarmServer

from lsn.config import EvaluationConfig
from lsn.data import read_manifest
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.inference.runtimes.opening import open_model
from lsn.models.weights import load_weights, save_weights


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture(scope="module")
def warm_server() -> Iterator[WarmServer]:
    with WarmServer("lsn.inference.predictor", "lsn.publishing.push", "lsn.cli.app") as server:
        yield server


@pytest.fixture
def user(warm_server, hub, tmp_path) -> HubUser:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return HubUser(warm_server, hub.url, folder)


@pytest.fixture
def run_folder(tmp_path, videos) -> Path:
    """A run: weights, recipe and validation, with two wrong answers at least."""
    folder = tmp_path / "private place" / "run"
    save_weights(folder, lively_model(), labels=LABELS, input=INPUT, metrics={"top1": 0.5}, frame_rates=RATES)
    recipe = {
        "model": {"name": "lsn_resnet10t", "backbone_weights": str(tmp_path / "private place" / "cnn.safetensors")},
        "data": {"train": str(videos / "val.csv"), "val": str(videos / "val.csv")},
        "evaluation": {"num_clips": 2},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    ready = open_model(folder, device="cpu")
    protocol = EvaluationProtocol.of(ready.runtime.network, INPUT, EvaluationConfig())
    evaluate(ready.runtime, read_manifest(videos / "val.csv", labels=LABELS), protocol, num_workers=0).save(folder)
    return folder


ROUND_TRIP = """
import json, lsn
loaded = lsn.load("ann/gestures")
assert not loaded.model.training
probabilities = lsn.Predictor("ann/gestures")("{clip}").probabilities
print(json.dumps([loaded.labels, loaded.validation_threshold, probabilities.tolist()]))
"""


def test_a_round_trip(run_folder, hub, user, videos):
    """As users do it: environment variables and fresh processes."""
    clip = videos / "6.mp4"
    pushed = user.fresh("push", run_folder, "ann/gestures", "--license", "apache-2.0", "--dataset", "ann/videos")
    assert pushed.returncode == 0, pushed.stderr
    assert f"{hub.url}/ann/gestures/commit/" in pushed.stdout
    there = user.fresh("predict", "ann/gestures", clip, "--json", HF_TOKEN="")
    assert there.returncode == 0, there.stderr
    assert there.stderr == ""  # no bars where nobody looks
    here = user.lsn("predict", run_folder, clip, "--json")
    expected = pytest.approx(json.loads(here.out)["probabilities"], abs=1e-6)  # on another number of threads
    assert json.loads(there.stdout)["probabilities"] == expected
    hub.requests.clear()
    offline = user.fresh("predict", "ann/gestures", clip, "--json", HF_HUB_OFFLINE="1")
    assert json.loads(offline.stdout)["probabilities"] == expected
    assert not hub.requests


def test_what_is_uploaded(run_folder, hub, user, videos):
    assert user.lsn("push", run_folder, "ann/gestures", "--license", "apache-2.0", "--dataset", "ann/videos").code == 0
    files = hub.repositories["ann/gestures"].commits[-1][1]
    assert set(files) == {
        ".eval_results/lsn.yaml",
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
        "recipe.yaml",
    }
    assert files["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()
    check_that_nothing_private_is_in(files, videos)
    check_card(files["README.md"].decode(), run_folder)
    (result,) = yaml.safe_load(files[".eval_results/lsn.yaml"])
    accuracy = json.loads((run_folder / "evaluation.json").read_text())["metrics"]["top1"]
    assert result["dataset"] == {"id": "ann/videos", "task_id": "default"}
    assert result["value"] == pytest.approx(100 * accuracy, abs=0.01)


def check_that_nothing_private_is_in(files: dict[str, bytes], videos: Path) -> None:
    text = b"".join(data for path, data in files.items() if path != "model.safetensors").decode()
    assert "private place" not in text
    assert str(videos) not in text
    assert "6.mp4" not in text
    recipe = yaml.safe_load(files["recipe.yaml"])
    assert recipe["data"]["train"] == "val.csv"
    assert recipe["model"]["backbone_weights"] == "cnn.safetensors"


def check_card(text: str, run_folder: Path) -> None:
    card = ModelCard(text)
    metrics = json.loads((run_folder / "evaluation.json").read_text())["metrics"]
    assert card.data.license == "apache-2.0"
    assert card.data.datasets == ["ann/videos"]
    top1 = next(result for result in card.data.eval_results or () if result.metric_name == "top-1 accuracy")
    assert top1.metric_value == pytest.approx(metrics["top1"], abs=1e-4)
    assert top1.dataset_split == "validation"
    assert f"| Top-1 accuracy | {metrics['top1']:.1%} |" in text
    assert "By the validation data were chosen: the epoch, the temperature" in text
    assert "num_clips: 2" in text  # what differs from the defaults
    assert "lsn predict ann/gestures clip.mp4" in text


def test_the_model_has_all_that_belongs_to_it(run_folder, user, videos):
    clip = videos / "6.mp4"
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    stream = user.lsn("stream", "ann/gestures", clip)
    assert "of the right answers of its validation do" in stream.out  # as beside the validation itself
    assert stream.out.replace("ann/gestures", "") == user.lsn("stream", run_folder, clip).out.replace(
        str(run_folder), ""
    )
    answer = user.python(ROUND_TRIP.format(clip=clip))
    assert answer.code == 0, answer.err
    labels, threshold, probabilities = json.loads(answer.out)
    assert labels == list(LABELS)
    assert 0 < threshold < 1
    assert sum(probabilities) == pytest.approx(1)


def test_weights_pushed_again_replace_what_belonged_to_the_others(run_folder, hub, user):
    assert user.lsn("push", run_folder, "ann/gestures", "--dataset", "ann/videos").code == 0
    repository = hub.repositories["ann/gestures"]
    old = {"onnx/step.onnx": b"old", "onnx/export.json": b"{}"}
    repository.add(repository.commits[-1][1] | old | {"LICENSE": b"mine"}, "by hand")
    save_weights(run_folder, lively_model("convlstm_resnet10t"), labels=LABELS, input=INPUT, metrics={})
    assert user.lsn("push", run_folder, "ann/gestures", "--message", "Better").code == 0
    files = repository.commits[-1][1]
    assert files["LICENSE"] == b"mine"
    assert files["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()
    assert not [path for path in files if path.startswith(("onnx", ".eval_results"))]
    assert repository.messages[-1] == "Better"


def test_a_revision_by_its_hash(run_folder, hub, user, videos):
    clip = videos / "5.mp4"
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    first = hub.repositories["ann/gestures"].commits[-1][0]
    here = json.loads(user.lsn("predict", run_folder, clip, "--json").out)
    save_weights(run_folder, lively_model("convlstm_resnet10t"), labels=LABELS, input=INPUT, metrics={})
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    for name, is_first in (("ann/gestures", False), (f"hf-hub:ann/gestures@{first}", True)):
        there = json.loads(user.lsn("predict", name, clip, "--json").out)
        assert (there["probabilities"] == here["probabilities"]) == is_first


def test_a_private_model_is_for_its_owner(run_folder, user, videos, tmp_path):
    assert user.lsn("push", run_folder, "ann/secret", "--private").code == 0
    (tmp_path / "other").mkdir()
    other = HubUser(user.server, user.hub, tmp_path / "other", token="")
    expected = "ann/secret: no such folder here, and no such model at the Hub, or not one that you may read"
    assert expected in other.lsn("predict", "ann/secret", videos / "5.mp4").error
    assert user.lsn("predict", "ann/secret", videos / "5.mp4").code == 0


def test_rules_of_events_go_along(run_folder, user):
    config = json.loads((run_folder / "config.json").read_text())
    (run_folder / "config.json").write_text(json.dumps(config | {"events": {"on_threshold": 0.7}}))
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    assert user.python('import lsn; print(lsn.load("ann/gestures").events.on_threshold)').out.strip() == "0.7"


def test_names_of_nothing(hub, user, videos):
    for name, expected in (
        ("ann/nothing", "ann/nothing: no such folder here, and no such model at the Hub"),
        ("hf-hub:ann/nothing", "hf-hub:ann/nothing: no such model at the Hub"),
        ("hf-hub:nothing/at/all", "hf-hub:nothing/at/all: not a name of the Hub; expected user/name"),
    ):
        assert expected in user.lsn("predict", name, videos / "5.mp4").error, name
    (user.folder / "runs").mkdir()
    hub.requests.clear()
    assert "runs/typo: no such weights folder" in user.lsn("predict", "runs/typo", videos / "5.mp4").error
    assert not hub.requests  # a folder of yours is not asked for elsewhere


def test_no_connection_and_no_permission(run_folder, hub, user, videos):
    user.is_offline = True
    error = user.lsn("predict", "ann/gestures", videos / "5.mp4").error
    assert "the Hub does not answer" in error
    assert "must be downloaded once before it can be used offline" in error
    user.is_offline, user.token = False, "hf_somebody"
    error = user.lsn("push", run_folder, "ann/gestures").error
    assert "ann/gestures: the Hub does not let you write there; log in with `hf auth login`" in error
    assert not hub.repositories
    user.hub = "http://127.0.0.1:1"
    assert "ann/gestures: the Hub does not answer" in user.lsn("push", run_folder, "ann/gestures").error


def test_models_that_lack_something(run_folder, hub, user, videos):
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    clip, repository = videos / "5.mp4", hub.repositories["ann/gestures"]
    assert "the model has no revision v2" in user.lsn("predict", "ann/gestures@v2", clip).error
    expected = "has no export for onnx at the Hub"
    assert expected in user.lsn("predict", "ann/gestures", clip, "--runtime", "onnx").error
    files = dict(repository.commits[-1][1])
    repository.add({path: data for path, data in files.items() if path != "model.safetensors"}, "lost")
    assert "the Hub has no model.safetensors there" in user.lsn("predict", "ann/gestures", clip).error


def test_what_would_be_uploaded_can_be_looked_at(run_folder, hub, user):
    (user.folder / "notes.md").write_text("Filmed with *two* cameras.")
    shown = user.lsn("push", run_folder, "ann/gestures", "--notes", "notes.md", "--out", "look")
    assert shown.code == 0, shown.err
    assert "## Notes\n\nFilmed with *two* cameras.\n" in (user.folder / "look/README.md").read_text()
    assert load_weights(user.folder / "look").labels == LABELS
    assert not hub.requests
    assert "look: exists" in user.lsn("push", run_folder, "ann/gestures", "--out", "look").error
    assert "comes with LSN" in user.lsn("push", "starter:gestures", "ann/gestures").error


def test_weights_without_a_run_have_a_card_too(tmp_path, user):
    save_weights(tmp_path / "bare", lively_model(), labels=("a|b", "c*", *"defg"), input=INPUT, metrics={})
    assert user.lsn("push", tmp_path / "bare", "ann/bare", "--out", "look").code == 0
    text = (user.folder / "look/README.md").read_text()
    assert "Nothing: no evaluation lies beside these weights." in text
    assert "a\\|b, c\\*, d" in text


def timm_files(name: str, **changes: Any) -> dict[str, bytes]:
    """A CNN as timm pushes it."""
    model = timm.create_model(name, num_classes=7)
    cfg = {key: list(model.pretrained_cfg[key]) for key in ("mean", "std")} | changes
    config = {"architecture": name, "num_classes": 7, "pretrained_cfg": cfg}
    return {"model.safetensors": save(model.state_dict()), "config.json": json.dumps(config).encode()}


def test_a_cnn_of_the_hub_starts_a_model(hub, user):
    code = """
import lsn
model = lsn.create_model("lsn_test_resnet", num_classes=3, backbone_weights="hf-hub:ann/cnn")
print({name: float(tensor.double().sum()) for name, tensor in model.cnn.state_dict().items() if "fc" not in name})
"""
    hub.repositories["ann/cnn"] = Repository()
    files = timm_files("test_resnet")
    hub.repositories["ann/cnn"].add(files, "timm")
    answer = user.python(code)
    assert answer.code == 0, answer.err
    tensors = load(files["model.safetensors"])
    expected = {name: float(tensor.double().sum()) for name, tensor in tensors.items() if "fc" not in name}
    assert yaml.safe_load(answer.out) == pytest.approx(expected)
    for change, problem in (
        (timm_files("test_resnet", mean=[0.1, 0.2, 0.3]), "frames normalised with mean (0.1, 0.2, 0.3)"),
        (files | {"config.json": b'{"architecture": "resnet50"}'}, "config.json is not that of a CNN of timm"),
        (timm_files("test_efficientnet"), "holds timm's 'test_efficientnet'"),
    ):
        hub.repositories["ann/cnn"].add(change, "other")
        assert problem in user.python(code).err
