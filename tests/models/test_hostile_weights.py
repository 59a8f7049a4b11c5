"""Weights folders and files that were damaged, or made to do harm: one error each, soon, and within the memory."""

import json
import subprocess
import sys

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

import lsn
from lsn.config import InputConfig
from lsn.errors import ConfigError, LSNError, ModelError, WeightsError
from lsn.models.factory import FAMILIES
from lsn.models.weights import load_weights, save_weights

INPUT = InputConfig(size=64, short_side=72)
LABELS = ("open", "close")
CNNS = ("test_resnet", "resnet10t", "mobilenetv3_small_050", "test_convnext", "efficientnet_b0", "regnety_002")


def write_folder(folder, name="lsn_test_resnet", **options):
    torch.manual_seed(0)
    model = lsn.create_model(name, num_classes=2, num_frames=4, **options)
    save_weights(folder, model, labels=LABELS, input=INPUT, metrics={"top1": 0.5})
    return model.eval()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    write_folder(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    for path in original.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(folder, model=None, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["model"] |= model or {}
    path.write_text(json.dumps({**config, **changes}))


NORMALISATION = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # of most CNNs


def values(model):
    """All numbers of a model, saved or not."""
    return {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


@pytest.mark.parametrize(
    ("family", "cnn"),
    [
        *((family, "resnet10t") for family in FAMILIES),
        *(("lsn", cnn) for cnn in CNNS),
        ("tsn", "lambda_resnet26t"),
        ("tsn", "resnetblur50"),
        ("convlstm", "mobilevit_xxs"),
    ],
)
def test_a_loaded_model_is_the_saved_one_bit_for_bit(tmp_path, family, cnn) -> None:
    model = write_folder(tmp_path, f"{family}_{cnn}")
    before = torch.get_rng_state()

    loaded = load_weights(tmp_path).model

    if cnn not in ("lambda_resnet26t", "resnetblur50"):  # which compute numbers that they do not save
        assert torch.equal(torch.get_rng_state(), before)  # nothing random was made only to be overwritten
    assert values(loaded).keys() == values(model).keys()
    for name, tensor in values(model).items():
        other = values(loaded)[name]
        assert (other.dtype, other.device) == (tensor.dtype, tensor.device), name
        assert torch.equal(other, tensor), name
    assert loaded.arguments == model.arguments
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    clip_BTCHW = torch.randint(0, 256, (1, 4, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded(clip_BTCHW), model(clip_BTCHW))


def test_folders_without_a_checksum_and_in_half_precision_are_read(folder) -> None:
    model = load_weights(folder).model
    tensors = load_file(folder / "model.safetensors")
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    (folder / "model.safetensors").write_bytes(save(half))

    loaded = load_weights(folder).model

    for name, tensor in model.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded.state_dict()[name], expected), name


def test_weights_that_are_not_finite_are_loaded_and_the_cnn_is_checked_all_the_same(tmp_path) -> None:
    model = lsn.create_model("lsn_test_resnet", num_classes=2)
    torch.nn.init.constant_(next(model.parameters()), torch.nan)
    save_weights(tmp_path, model, labels=LABELS, input=INPUT, metrics={"loss": float("nan")})
    assert next(load_weights(tmp_path).model.parameters()).isnan().all()


def test_a_cnn_that_is_no_sequence_of_stages_is_refused_with_weights_too(folder) -> None:
    cnn = timm.create_model("levit_128s", num_classes=2)
    save_file({f"cnn.{name}": t for name, t in cnn.state_dict().items()}, folder / "model.safetensors")
    edit(folder, {"name": "tsn_levit_128s"}, **NORMALISATION)
    with pytest.raises(WeightsError, match=r"config\.json: LevitDistilled is not a plain sequence of stages"):
        load_weights(folder)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"pretrained": True}, "unknown key 'pretrained'"),
        ({"backbone_weights": "other.safetensors"}, "unknown key 'backbone_weights'"),
        ({"initial_weights": "other"}, "unknown key 'initial_weights'"),
        ({"name": None}, "name: expected str, got None"),
        ({"name": ["lsn_resnet18"]}, "name: expected str"),
        ({"name": "lsn_hf-hub:timm/resnet18"}, "timm has no CNN 'hf-hub:timm/resnet18'"),
        ({"name": "lsn_hf_hub:timm/resnet18"}, "timm has no CNN"),
        ({"name": "lsn_local-dir:/etc"}, "timm has no CNN"),
        ({"name": "lsn_resnet18.hf-hub:timm/resnet18"}, "timm has no CNN"),
        ({"name": "lsn_resnet18.tag"}, "config.json: resnet18.tag: "),
        ({"name": "lsn_\0"}, "name: expected text without NUL"),
        ({"name": "lsn_" + "x" * 100_000}, "timm has no CNN"),
        ({"num_classes": "16"}, "num_classes: expected int"),
        ({"num_classes": 2.5}, "num_classes: expected int"),
        ({"num_classes": True}, "num_classes: expected int"),
        ({"num_classes": 3}, "2 labels for a model of 3 classes"),
        ({"num_frames": 100_000}, "num_frames is 100000; it must be at least 1 and at most 4096"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"num_frames": None}, "num_frames: expected int"),
        ({"num_frames": [[[[1]]]]}, "num_frames: expected int"),
        ({"readout_frames": 5}, "readout_frames is 5"),
        ({"dropout": float("nan")}, "dropout: expected a finite number"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"reduction": 0}, "reduction is 0"),
        ({"reduction": -1}, "reduction is -1"),
        ({"kernel_size": 99_999}, "kernel_size is 99999; it must be at least 1 and at most 255"),
        ({"kernel_size": 4}, "it must be odd"),
        ({"order": 10**9, "steps": 10**9}, "order is 1000000000"),
        ({"steps": 10**9}, "steps is 1000000000"),
        ({"rank": 10**9}, "rank is 1000000000"),
        ({"memory_stages": [0] * 100_000}, "memory_stages has 0 twice"),
        ({"memory_stages": [0.0]}, "memory_stages: expected int"),
        ({"memory_stages": 3}, "memory_stages: expected a list"),
        ({"memory_stages": [4]}, "memory_stages has 4"),
        ({"memory": "ho"}, "memory: 'ho' is not allowed"),
        ({"memory": ["none"]}, "memory: "),
        ({"shift": "sideways"}, "shift: 'sideways' is not allowed"),
        ({"unknown": 1}, "unknown key 'unknown'"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_arguments_of_the_model_are_checked(folder, monkeypatch, model, said) -> None:
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: pytest.fail("reads other weights"))
    edit(folder, model)
    with pytest.raises(WeightsError) as caught:
        load_weights(folder)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": "ab"}, "labels: expected a list"),
        ({"labels": [1, 2]}, "labels: expected str"),
        ({"labels": [None, "a"]}, "labels: expected str"),
        ({"labels": ["a", "a"]}, "two classes have the label 'a'"),
        ({"labels": {"a": 1, "b": 2}}, "labels: expected a list"),
        ({"labels": [["a"], ["b"]]}, "labels: expected str"),
        ({"input": None}, "input: expected a section"),
        ({"input": []}, "input: expected a section"),
        ({"input": {"size": 10**9, "short_side": 10**9}}, "input.size is 1000000000"),
        ({"input": {"size": 2.5}}, "size: expected int"),
        ({"input": {"fps": float("inf")}}, "fps: expected a finite number"),
        ({"input": {"scales": [[]]}}, "scales: expected float"),
        ({"metrics": []}, "metrics: expected a section"),
        ({"metrics": None}, "metrics: expected a section"),
        ({"untrained": 3}, "untrained: expected a list"),
        ({"untrained": [3]}, "untrained: expected str"),
        ({"untrained": ["cnn.nothing"]}, "untrained names 'cnn.nothing'"),
        ({"mean": None}, "mean: expected a list"),
        ({"mean": [{}]}, "mean: expected float"),
        ({"std": [float("nan")] * 3}, "std: expected a finite number"),
        ({"frame_rates": [1, 2, 3]}, "frame_rates: expected a section"),
        ({"frame_rates": {"low": "a", "median": 1, "high": 2}}, "low: expected float"),
        ({"frame_rates": {"low": 0, "median": 1, "high": 2}}, "they must be finite, above 0 and in order"),
        ({"format_version": [[1]]}, "format version [[1]]"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_everything_else_is_checked(folder, changes, said) -> None:
    edit(folder, **changes)
    with pytest.raises(WeightsError) as caught:
        load_weights(folder)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("key", ["model", "labels", "input", "mean", "std"])
def test_a_missing_part_is_named(folder, key) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config[key]
    path.write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=rf"config\.json: {key} is missing"):
        load_weights(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "not readable JSON"),
        ('{"a":' * 100_000, "not readable JSON"),
        (f'{{"format": {"9" * 1000}}}', "a whole number of 1000 digits"),
        (f'{{"format": {"9" * 10_000}}}', "a whole number of 10000 digits"),
        ("[]", "not the description"),
        ("null", "not the description"),
        ("\ufeff{}", "not readable JSON"),
        (" " * (9 << 20), "at most"),
    ],
    ids=["lists", "sections", "1000 digits", "10000 digits", "list", "null", "mark", "size"],
)
def test_a_description_that_is_none_is_refused(folder, text, said) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=said):
        load_weights(folder)


def test_names_that_no_folder_can_have() -> None:
    for name in ("a\0b", "runs/" + "x" * 5000):
        with pytest.raises(WeightsError, match="no such weights folder"):
            load_weights(name)


@pytest.mark.slow
def test_huge_promises_are_refused_before_they_take_memory(folder) -> None:
    """In a process of its own, whose time and memory are bounded."""
    script = """
import json, resource, sys
from pathlib import Path
from lsn.errors import WeightsError
from lsn.models.weights import load_weights
import lsn
lsn.create_model("tsn_test_resnet")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = Path(sys.argv[1], "config.json")
config = json.loads(path.read_text())
normalisation = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
for model in (
    {"name": "lsn_convnextv2_huge"},
    {"name": "lsn_regnety_2560", "order": 64, "steps": 64, "rank": 65536, "kernel_size": 255},
    {"num_frames": 10**9},
    {"order": 10**9, "steps": 10**9},
    {"order": 256, "steps": 256},
    {"rank": 65536, "kernel_size": 255},
):
    usual = normalisation if "name" in model else {}
    path.write_text(json.dumps(config | usual | {"model": config["model"] | model}))
    try:
        load_weights(sys.argv[1])
    except WeightsError as error:
        print(error)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 300 << 10, f"{grown} KiB"
"""
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 6
    assert "does not fit the model of config.json, lsn_convnextv2_huge: " in done.stdout


def test_the_first_tensors_that_do_not_fit_are_named(folder) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["cnn.fc.bias"] = torch.zeros(3)
    tensors["cnn.conv1.0.weight"] = tensors["cnn.conv1.0.weight"].int()
    tensors["other"] = torch.zeros(1)
    del tensors["cnn.fc.weight"]
    (folder / "model.safetensors").write_bytes(save(tensors))
    with pytest.raises(WeightsError) as caught:
        load_weights(folder)
    said = str(caught.value)
    assert "no cnn.fc.weight, unknown 'other', cnn.conv1.0.weight is 16x3x3x3 int32, expected 16x3x3x3 float32" in said
    assert "(4 in all)" in said


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_an_error_or_changes_nothing(original, tmp_path_factory, data) -> None:
    content = bytearray((original / "model.safetensors").read_bytes())
    header_bytes = 8 + int.from_bytes(content[:8], "little")
    part = data.draw(st.sampled_from([(0, header_bytes - 1), (header_bytes, len(content) - 1)]))
    place = data.draw(st.integers(*part))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("flipped")
    (folder / "config.json").write_bytes((original / "config.json").read_bytes())
    (folder / "model.safetensors").write_bytes(content)
    try:
        state = load_weights(folder).model.state_dict()
    except WeightsError as error:
        assert str(folder) in str(error)
    else:
        assert place < header_bytes
        expected = load_weights(original).model.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off_is_an_error(original, tmp_path_factory, share) -> None:
    content = (original / "model.safetensors").read_bytes()
    folder = tmp_path_factory.mktemp("cut")
    (folder / "config.json").write_bytes((original / "config.json").read_bytes())
    (folder / "model.safetensors").write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match="copy or fetch the file again"):
        load_weights(folder)


@pytest.mark.parametrize("promised", [8, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_sparse_file_with_a_huge_header_is_refused(folder, promised) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(promised.to_bytes(8, "little"))
    with path.open("r+b") as file:
        file.truncate(1 << 41)
    with pytest.raises(WeightsError, match=r"model\.safetensors: not weights"):
        load_weights(folder)


def test_new_tensors_beside_the_description_before_are_readable(folder, tmp_path_factory) -> None:
    """As after a kill between the two files of a run that goes on."""
    newer = tmp_path_factory.mktemp("newer")
    model = lsn.create_model("lsn_test_resnet", num_classes=2, num_frames=4)
    save_weights(newer, model, labels=LABELS, input=INPUT, metrics={"top1": 0.75})
    (folder / "model.safetensors").write_bytes((newer / "model.safetensors").read_bytes())
    loaded = load_weights(folder)
    assert loaded.metrics == {"top1": 0.5}
    assert torch.equal(loaded.model.get_classifier().weight, model.get_classifier().weight)


def test_what_a_person_may_ask_for_is_bounded_as_well() -> None:
    for options in ({"num_frames": 4097}, {"num_classes": 10**9}, {"order": 257, "steps": 257}, {"rank": 10**6}):
        with pytest.raises(ModelError, match="at most"):
            lsn.create_model("lsn_test_resnet", **options)
    with pytest.raises(ModelError, match="memory_stages has 1 twice"):
        lsn.create_model("lsn_test_resnet", memory_stages=(1, 1))
    with pytest.raises(ConfigError, match=r"model\.num_frames is 4097; it must be at least 1 and at most 4096"):
        lsn.config.ModelConfig(num_frames=4097)


def test_backbone_weights_are_looked_at_before_they_are_read(tmp_path) -> None:
    path = tmp_path / "cnn.safetensors"
    tensors = timm.create_model("test_resnet").state_dict()
    wrong = {
        "conv1.0.weight is 1x1 float32, expected 16x3x3x3 float32": {"conv1.0.weight": torch.zeros(1, 1)},
        "conv1.0.weight is 16x3x3x3 int64, expected 16x3x3x3 float32": {
            "conv1.0.weight": torch.zeros(16, 3, 3, 3, dtype=torch.int64)
        },
        "unknown 'more'": {"more": torch.zeros(1)},
    }
    for said, changes in wrong.items():
        save_file(tensors | changes, path)
        with pytest.raises(WeightsError, match=said):
            lsn.create_model("lsn_test_resnet", backbone_weights=str(path))
    save_file(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(LSNError, match="not weights of timm's test_resnet"):
        lsn.create_model("lsn_test_resnet", backbone_weights=str(path))
    save_file({name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}, path)
    lsn.create_model("lsn_test_resnet", backbone_weights=str(path))
