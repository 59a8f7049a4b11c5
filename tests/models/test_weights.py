import json
import pickle

import pytest
import torch

import lsn
from lsn.config import FrameRates, InputConfig
from lsn.errors import WeightsError
from lsn.models.weights import load_weights, save_weights

INPUT = InputConfig(size=64, short_side=72, sampling="dense", frame_stride=2)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = lsn.create_model("lsn_resnet10t", num_classes=2, num_frames=4, memory_stages=(2, 3), order=2)
    save_weights(tmp_path / "w", model, labels=["open", "close"], input=INPUT, metrics={"top1": 0.5})
    return tmp_path / "w"


def test_a_folder_gives_back_model_labels_input_and_metrics(folder) -> None:
    first, second = load_weights(folder), load_weights(folder)
    assert (first.labels, first.input, first.metrics) == (("open", "close"), INPUT, {"top1": 0.5})
    assert set(first.model.memory) == {"2", "3"}
    assert first.model.num_frames == 4
    assert not first.model.training
    assert first.model.new_parameter_names() == set()
    clip = torch.randn(1, 4, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(first.model(clip), second.model(clip))


def edit(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: edit(f, format_version=99), "format version 99.*reads version 1"),
        (lambda f: edit(f, format="other"), "not the description of LSN weights"),
        (lambda f: edit(f, model={"name": "lsn_resnet18", "num_classes": 2}), "does not fit the model"),
        (lambda f: edit(f, model={"name": "lsn_nothing", "num_classes": 2}), "timm has no CNN"),
        (lambda f: edit(f, input={"sise": 3}), "did you mean 'size'"),
        (lambda f: edit(f, model="lsn_resnet10t"), "model: expected a section, got 'lsn_resnet10t'"),
        (lambda f: edit(f, metrics=0.5), "metrics: expected a section, got 0.5"),
        (lambda f: edit(f, mean=[0.5, 0.5, 0.5]), r"trained on frames normalised with mean \[0.5, .*install the timm"),
        (lambda f: edit(f, frame_rates=8.0), "frame_rates: expected a section, got 8.0"),
        (lambda f: edit(f, frame_rates={"low": 2.0, "median": 4.0}), "frame_rates: high is missing"),
        (lambda f: edit(f, frame_rates={"low": 2.0, "median": 4.0, "hihg": 5.0}), "did you mean 'high'"),
        (lambda f: edit(f, frame_rates={"low": 2.0, "median": 4.0, "high": 3.0}), "finite, above 0 and in order"),
        (lambda f: edit(f, labels=["one"]), "1 labels for a model of 2 classes"),
        (lambda f: (f / "config.json").write_text("{"), "not readable JSON"),
        (lambda f: (f / "config.json").unlink(), "holds no weights"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b"short"), "no safetensors file, or cut off"),
    ],
)
def test_a_damaged_folder_is_named_with_the_way_out(folder, damage, said: str) -> None:
    damage(folder)
    with pytest.raises(WeightsError, match=said):
        load_weights(folder)


def test_frame_rates_come_back_and_older_folders_have_none(folder, tmp_path) -> None:
    assert load_weights(folder).frame_rates is None
    loaded, rates = load_weights(folder), FrameRates(2.5, 8.0, 12.0)
    save_weights(tmp_path / "new", loaded.model, labels=loaded.labels, input=INPUT, metrics={}, frame_rates=rates)
    assert load_weights(tmp_path / "new").frame_rates == rates

    config = json.loads((folder / "config.json").read_text())
    del config["frame_rates"]
    for key in ("fps", "fps_jitter"):  # what a folder of the first version lacks
        del config["input"][key]
    (folder / "config.json").write_text(json.dumps(config))
    older = load_weights(folder)
    assert (older.frame_rates, older.input) == (None, INPUT)


@pytest.mark.parametrize(
    "rates", [(0.0, 1.0, 2.0), (3.0, 2.0, 4.0), (1.0, 2.0, float("inf")), (float("nan"), 2.0, 3.0)]
)
def test_frame_rates_that_cannot_be_are_refused(rates) -> None:
    with pytest.raises(WeightsError, match="they must be finite, above 0 and in order"):
        FrameRates(*rates)


def test_a_pickle_is_refused_and_never_run(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="can run code and are not read"):
        load_weights(path)
    assert not (tmp_path / "ran").exists()


def test_labels_need_not_be_valid_unicode(tmp_path) -> None:
    labels = ("wischen nach o\udcff", "手")  # the first as a folder's name in another encoding comes out
    model = lsn.create_model("tsn_resnet10t", num_classes=2)
    save_weights(tmp_path, model, labels=labels, input=INPUT, metrics={})
    assert load_weights(tmp_path).labels == labels


def test_labels_must_match_the_classes(tmp_path) -> None:
    model = lsn.create_model("tsn_resnet10t", num_classes=2)
    with pytest.raises(WeightsError, match="3 labels for a model of 2 classes"):
        save_weights(tmp_path, model, labels=["a", "b", "c"], input=INPUT, metrics={})
