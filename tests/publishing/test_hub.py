"""Weights go to the Hub and come back from it, over HTTP, in processes of their own as elsewhere in the world."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import Repository
from hub_user import HubUser
from huggingface_hub import ModelCard
from small_recognizer import INPUT, LABELS, lively_model

from lsn.export import proof
from lsn.export.export import export_weights
from lsn.models.weights import load_weights, save_weights


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


ROUND_TRIP = """
import json, lsn
loaded = lsn.load("ann/gestures")
assert not loaded.model.training
probabilities = lsn.Predictor("ann/gestures")("{clip}").probabilities
print(json.dumps([loaded.labels, loaded.validation_threshold, probabilities.tolist()]))
"""


@pytest.mark.slow
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
    assert "The validation data chose the epoch and the temperature, so figures on these are optimistic." in text
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


def test_weights_pushed_again_replace_what_belonged_to_the_others(run_folder, hub, user, tmp_path):
    assert user.lsn("push", run_folder, "ann/gestures", "--dataset", "ann/videos").code == 0
    repository = hub.repositories["ann/gestures"]
    old = {"phone/step.onnx": b"old", "phone/export.json": b"{}"}
    mine = {"LICENSE": b"mine", "onnx_notes/a.txt": b"mine", ".eval_results/other.yaml": b"mine"}
    repository.add(repository.commits[-1][1] | old | mine, "by hand")
    bare = tmp_path / "bare"
    save_weights(bare, lively_model("convlstm_resnet10t"), labels=LABELS, input=INPUT, metrics={})
    assert user.lsn("push", bare, "ann/gestures", "--message", "Better").code == 0
    files = repository.commits[-1][1]
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors", *mine}
    assert files["model.safetensors"] == (bare / "model.safetensors").read_bytes()
    assert repository.messages[-1] == "Better"


def test_what_others_have_there_is_not_replaced(run_folder, hub, user):
    hub.repositories["ann/cnn"] = Repository()
    hub.repositories["ann/cnn"].add({"config.json": b'{"architecture": "resnet50"}', "README.md": b"mine"}, "timm")
    error = user.lsn("push", run_folder, "ann/cnn").error
    assert "ann/cnn: holds a model that is not of LSN; choose another name" in error
    assert user.lsn("push", run_folder, "ann/public").code == 0
    error = user.lsn("push", run_folder, "ann/public", "--private").error
    assert "ann/public: is there already, and public; make it private at the Hub, or choose another name" in error
    assert [len(repository.commits) for repository in hub.repositories.values()] == [1, 2]
    for name in ("gestures", "ann/all/gestures", "ann/ge stures"):
        assert f"{name}: not a name of the Hub; expected user/name" in user.lsn("push", run_folder, name).error
    error = user.lsn("push", run_folder, "ann/gestures", "--license", "my own").error
    assert "ann/gestures: the Hub refuses the card" in error
    assert "license" in error


def test_what_does_not_belong_together_is_not_pushed(run_folder, hub, user):
    metrics = json.loads((run_folder / "config.json").read_text())["metrics"]
    change_config(run_folder, metrics=metrics | {"top1": 0.99})
    assert "the validation beside the weights is of others (top1 " in user.lsn("push", run_folder, "ann/x").error
    change_config(run_folder, metrics=metrics)
    (run_folder / "recipe.yaml").write_text("model: [")
    assert "recipe.yaml: not a readable YAML file" in user.lsn("push", run_folder, "ann/x").error
    assert "ann/x: no folder of yours" in user.lsn("push", "ann/x", "ann/y").error
    assert not hub.repositories


def test_a_revision_by_its_hash(run_folder, hub, user, videos, tmp_path):
    clip = videos / "5.mp4"
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    first = hub.repositories["ann/gestures"].commits[-1][0]
    here = json.loads(user.lsn("predict", run_folder, clip, "--json").out)
    save_weights(tmp_path / "other", lively_model("tsn_resnet10t"), labels=LABELS, input=INPUT, metrics={})
    assert user.lsn("push", tmp_path / "other", "ann/gestures").code == 0
    for name, is_first in (("ann/gestures", False), (f"hf-hub:ann/gestures@{first}", True)):
        there = json.loads(user.lsn("predict", name, clip, "--json").out)
        assert (there["probabilities"] == here["probabilities"]) == is_first


@pytest.mark.slow
def test_every_command_takes_a_name(run_folder, hub, user, videos):
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    evaluated = user.lsn("evaluate", "ann/gestures", videos / "val.csv", "--out", "ann/evaluated", "--workers", "0")
    assert evaluated.code == 0, evaluated.err
    assert (user.folder / "ann/evaluated/report.html").is_file()  # beside which the name is still one of the Hub
    (user.folder / "ann/evaluated").rename(user.folder / "evaluated")
    (user.folder / "ann").rmdir()
    for arguments in (
        ("timeline", "ann/gestures", videos / "6.mp4", "--out", "found"),
        ("verify", "ann/gestures", "--num-frames", "4"),
        ("cost", "ann/gestures"),
    ):
        answer = user.lsn(*arguments)
        assert answer.code == 0, answer.err
    (user.folder / "val.csv").write_text("path,label\n")  # which has nothing to do with the recipe's
    error = user.lsn("evaluate", "ann/gestures").error
    assert "ann/gestures: no recipe.yaml of yours says what it was validated on; add a manifest or folder" in error
    error = user.lsn("export", "ann/gestures", "--to", "onnx").error
    assert "ann/gestures: no folder of yours; say where the export goes with --out" in error
    error = user.lsn("evaluate", "ann/gestures", videos / "val.csv", "--timelines", "--fit").error
    assert "ann/gestures: no folder of yours; copy " in error


def test_a_training_notes_the_commit_that_it_started_from(run_folder, hub, user, videos):
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    commit = hub.repositories["ann/gestures"].commits[-1][0]
    head, *rows = (videos / "val.csv").read_text().splitlines()
    for name, lines in (("train", rows[:5]), ("val", rows[5:])):
        (user.folder / f"{name}.csv").write_text("\n".join([head, *(f"{videos}/{line}" for line in lines)]) + "\n")
    trained = user.lsn(
        "train",
        "data.train=train.csv",
        "data.val=val.csv",
        "data.num_workers=0",
        "model.name=lsn_resnet10t",
        "model.memory_stages=[2, 3]",
        "model.num_frames=4",
        "model.initial_weights=ann/gestures",
        "input.size=32",
        "input.short_side=36",
        "training.epochs=1",
        "optim.warmup_epochs=0.5",
        "training.min_steps_per_epoch=1",
        "--out",
        "trained",
    )
    assert trained.code == 0, trained.err
    recipe = yaml.safe_load((user.folder / "trained/recipe.yaml").read_text())
    assert recipe["model"]["initial_weights"] == f"hf-hub:ann/gestures@{commit}"
    assert user.lsn("push", user.folder / "trained", "ann/trained", "--out", "look").code == 0
    assert ModelCard((user.folder / "look/README.md").read_text()).data.base_model == "ann/gestures"
    assert f"initial_weights: hf-hub:ann/gestures@{commit}" in (user.folder / "look/recipe.yaml").read_text()


def test_a_private_model_is_for_its_owner(run_folder, user, videos, tmp_path):
    assert user.lsn("push", run_folder, "ann/secret", "--private").code == 0
    (tmp_path / "other").mkdir()
    other = HubUser(user.server, user.hub, tmp_path / "other", token="")
    expected = "no such model at the Hub, or not one that you may read"
    assert expected in other.lsn("predict", "ann/secret", videos / "5.mp4").error
    assert user.lsn("predict", "ann/secret", videos / "5.mp4").code == 0


def test_rules_of_events_go_along(run_folder, user):
    change_config(run_folder, events={"on_threshold": 0.7})
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    assert user.python('import lsn; print(lsn.load("ann/gestures").events.on_threshold)').out.strip() == "0.7"


def test_names_of_nothing(hub, user, videos):
    for name, expected in (
        (
            "ann/nothing",
            "ann/nothing: no such weights folder (`lsn train` writes them), and no such model",
        ),
        ("hf-hub:ann/nothing", "hf-hub:ann/nothing: no such model at the Hub"),
        ("hf-hub:nothing/at/all", "hf-hub:nothing/at/all: not a name of the Hub; expected user/name"),
    ):
        assert expected in user.lsn("predict", name, videos / "5.mp4").error, name
    (user.folder / "runs").mkdir()
    hub.requests.clear()
    assert "runs/typo: no such weights folder" in user.lsn("predict", "runs/typo", videos / "5.mp4").error
    assert not hub.requests  # a folder of yours is not asked for elsewhere


def test_what_was_downloaded_works_without_a_connection(run_folder, hub, user, videos):
    assert user.lsn("push", run_folder, "ann/gestures").code == 0
    online = user.lsn("predict", "ann/gestures", videos / "6.mp4", "--json")
    hub.requests.clear()
    user.is_offline = True
    offline = user.lsn("predict", "ann/gestures", videos / "6.mp4", "--json")
    assert json.loads(offline.out)["probabilities"] == json.loads(online.out)["probabilities"]
    assert not hub.requests


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
    expected = "ann/gestures: no model.safetensors, neither at the Hub nor in what was downloaded"
    assert expected in user.lsn("predict", "ann/gestures", clip).error


def test_what_would_be_uploaded_can_be_looked_at(run_folder, hub, user):
    (user.folder / "notes.md").write_text("Filmed with *two* cameras.")
    shown = user.lsn("push", run_folder, "ann/gestures", "--notes", "notes.md", "--out", "look")
    assert shown.code == 0, shown.err
    assert "## Notes\n\nFilmed with *two* cameras.\n" in (user.folder / "look/README.md").read_text()
    assert load_weights(user.folder / "look").labels == LABELS
    assert not hub.requests
    assert "look: exists" in user.lsn("push", run_folder, "ann/gestures", "--out", "look").error
    assert "starter:gestures: no folder of yours" in user.lsn("push", "starter:gestures", "ann/gestures").error


def test_weights_without_a_run_have_a_card_too(tmp_path, user):
    save_weights(tmp_path / "bare", lively_model(), labels=("a|b", "c*", *"defg"), input=INPUT, metrics={})
    assert user.lsn("push", tmp_path / "bare", "ann/bare", "--out", "look").code == 0
    text = (user.folder / "look/README.md").read_text()
    assert "Nothing: no evaluation lies beside these weights." in text
    assert "a\\|b, c\\*, d" in text


@pytest.mark.slow  # PyTorch's exporter takes seconds
def test_an_export_comes_from_the_hub_without_the_weights(hub, user, videos, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(proof, "MANY_STEPS", 10)
    folder, model = tmp_path / "mine", lively_model("lsn_test_resnet", memory_stages=(3,))
    save_weights(folder, model, labels=LABELS, input=INPUT, metrics={})
    export_weights(folder, "onnx")
    assert user.lsn("push", folder, "ann/gestures").code == 0
    card = hub.repositories["ann/gestures"].commits[-1][1]["README.md"].decode()
    assert "| Export onnx | fp32; logits differ from PyTorch's by at most " in card
    assert "lsn predict ann/gestures clip.mp4 --runtime onnx   # without PyTorch" in card
    here = json.loads(user.lsn("predict", folder, videos / "5.mp4", "--json").out)
    hub.requests.clear()
    there = user.lsn("predict", "ann/gestures", videos / "5.mp4", "--json", "--runtime", "onnx")
    assert there.code == 0, there.err
    assert json.loads(there.out)["probabilities"] == pytest.approx(here["probabilities"], abs=1e-5)
    assert any("onnx/clip.onnx" in request for request in hub.requests)
    assert not any("model.safetensors" in request for request in hub.requests)
    save_weights(folder, lively_model("convlstm_resnet10t"), labels=LABELS, input=INPUT, metrics={})
    assert "onnx: was exported from other weights" in user.lsn("push", folder, "ann/gestures").error
