"""Checkpoints of others, against networks built here as their authors build them."""

import codecs
import pickle
import re
import tracemalloc
import zipfile

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from lsn.cli.app import main
from lsn.config import InputConfig, ModelConfig
from lsn.errors import WeightsError
from lsn.models import create_model
from lsn.models.convert import convert_checkpoint
from lsn.models.weights import load_weights, save_weights
from lsn.training.batch_norm import freeze_batch_norm
from lsn.training.start import start_model

T, K = 4, 5


class Shifted(nn.Module):
    """TSM's wrapper of a convolution, frame by frame; it names the convolution `net`."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x_NCHW):
        x_BTCHW = x_NCHW.unflatten(0, (-1, T))
        eighth = x_BTCHW.shape[2] // 8
        frames = []
        for t in range(T):
            frame = x_BTCHW[:, t].clone()
            frame[:, :eighth] = x_BTCHW[:, t + 1, :eighth] if t + 1 < T else 0
            frame[:, eighth : 2 * eighth] = x_BTCHW[:, t - 1, eighth : 2 * eighth] if t > 0 else 0
            frames.append(frame)
        return self.net(torch.stack(frames, dim=1).flatten(0, 1))


class TSM(nn.Module):
    """The published network around torchvision's ResNet."""

    def __init__(self, base_model, *, shift):
        super().__init__()
        self.new_fc = nn.Linear(base_model.fc.in_features, K)
        base_model.fc = nn.Identity()
        if shift:
            for module in list(base_model.modules()):
                if hasattr(module, "conv1") and module is not base_model:
                    module.conv1 = Shifted(module.conv1)
        self.base_model = base_model

    def forward(self, clip_BTCHW):
        features = self.base_model(clip_BTCHW.flatten(0, 1))
        return self.new_fc(features).unflatten(0, (-1, T)).mean(1)


def published(name="resnet18", *, shift=True):
    torch.manual_seed(3)
    network = TSM(getattr(torchvision.models, name)(), shift=shift)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def checkpoint_of(network, path):
    """As TSM's code saves it: under `state_dict`, with the prefix of DataParallel, beside plain data."""
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"epoch": 45, "arch": "resnet18", "state_dict": state, "best_prec1": torch.tensor(47.0)}, path)
    return path


@pytest.mark.parametrize(("name", "shift"), [("resnet18", True), ("resnet50", True), ("resnet18", False)])
def test_the_converted_model_gives_the_logits_of_the_original(tmp_path, name, shift):
    network = published(name, shift=shift)
    checkpoint = checkpoint_of(network, tmp_path / "tsm.pth.tar")

    done = convert_checkpoint(checkpoint, name=f"{'tsm' if shift else 'tsn'}_{name}", num_classes=K, num_frames=T)

    clip_BTCHW = torch.randn(2, T, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(done.model(clip_BTCHW), network(clip_BTCHW), rtol=1e-4, atol=1e-4)
    assert len(done.used) == len(network.state_dict())
    assert (done.unused, done.fresh) == ((), ())
    assert done.model.new_parameter_names() == set()


def test_an_lsn_starts_from_it_as_the_same_function_with_a_new_memory(tmp_path):
    network = published()
    checkpoint = checkpoint_of(network, tmp_path / "tsm.pth.tar")

    done = convert_checkpoint(checkpoint, name="lsn_ss_resnet18", num_classes=K, num_frames=T)

    clip_BTCHW = torch.randn(1, T, 3, 64, 64)
    with torch.no_grad():  # a fresh memory is the identity
        torch.testing.assert_close(done.model(clip_BTCHW), network(clip_BTCHW), rtol=1e-4, atol=1e-4)
    assert done.unused == ()
    assert done.fresh
    assert all(name.startswith("memory.") for name in done.fresh)
    assert done.model.new_parameter_names() == {n for n, _ in done.model.named_parameters() if n.startswith("memory.")}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_resnet_of_torchvision_starts_the_cnn_and_not_the_classifier(tmp_path, suffix):
    network = torchvision.models.resnet18()
    path = tmp_path / f"resnet18{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_file(network.state_dict(), path)

    done = convert_checkpoint(path, name="tsn_resnet18", num_classes=K)

    torch.testing.assert_close(done.model.cnn.layer3[1].conv2.weight, network.layer3[1].conv2.weight)
    assert set(done.unused) == {"fc.weight", "fc.bias"}
    assert set(done.fresh) == {"cnn.fc.weight", "cnn.fc.bias"}


def test_old_checkpoints_without_counts_of_batches_are_fine(tmp_path):
    state = {n: t for n, t in published().state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save({"state_dict": state}, tmp_path / "old.pth")

    assert convert_checkpoint(tmp_path / "old.pth", name="tsm_resnet18", num_classes=K).fresh == ()


class Malice:
    def __reduce__(self):
        return (print, ("this code must not run",))


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Malice()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="could run code"):
        convert_checkpoint(tmp_path / "evil.pth", name="tsm_resnet18", num_classes=K)
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(WeightsError, match=r"evil\.pkl"):
        convert_checkpoint(tmp_path / "evil.pkl", name="tsm_resnet18", num_classes=K)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such checkpoint"),
        (b"", "not what torch.save writes"),
        (b"<!DOCTYPE html><title>Sign in", "not what torch.save writes \\(it begins with '<!DOCTYPE html>"),
        (b"version https://git-lfs.github.com/spec/v1", "not what torch.save writes .*; fetch the file again"),
        (b"PK\x03\x04 cut off", "not a readable checkpoint"),
        ({0: torch.zeros(1)}, "no tensors by name"),
        ({"state_dict": {}}, "no tensors by name"),
        ([1, 2], "no tensors by name"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "does not fill the CNN of tsm_resnet18: 99 of its 102 tensors"),
    ],
)
def test_a_file_that_is_no_fitting_checkpoint_is_named(tmp_path, content, expected):
    path = tmp_path / "given.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)

    with pytest.raises(WeightsError, match=expected) as caught:
        convert_checkpoint(path, name="tsm_resnet18", num_classes=K)
    assert str(path) in str(caught.value)


class Grows:
    """What makes a gigabyte of a few bytes, with nothing but calls that torch's safe unpickler allows."""

    def __init__(self, times=None):
        self.times = times

    def __reduce__(self):
        if self.times is None:
            return bytearray, (1 << 30,)
        return codecs.encode, (Grows(self.times - 1) if self.times else b"12345678", "hex")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("growing", [Grows(), Grows(27)], ids=["bytearray", "hex"])
def test_a_checkpoint_that_grows_is_not_unpickled(tmp_path, growing, legacy):
    torch.save(
        {"state_dict": {"a": torch.zeros(1)}, "more": growing},
        tmp_path / "given.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"given\.pth: holds more than tensors and plain data"):
            convert_checkpoint(tmp_path / "given.pth", name="tsm_resnet18", num_classes=K)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1 << 20)}}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "given.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    with pytest.raises(WeightsError, match=r"given\.pth: not a readable checkpoint"):
        convert_checkpoint(tmp_path / "given.pth", name="tsm_resnet18", num_classes=K)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.to("meta"),
        lambda t: t.to_sparse(),
        lambda t: t.to(torch.complex64),
        lambda t: t.int(),
        lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
        lambda t: torch.zeros(1).expand(1 << 40),
        lambda t: t[0],
    ],
    ids=["meta", "sparse", "complex", "int", "quantised", "expanded", "shape"],
)
def test_tensors_that_a_network_cannot_hold_are_missing(tmp_path, change):
    state = published().state_dict()
    state["base_model.conv1.weight"] = change(state["base_model.conv1.weight"])
    torch.save({"state_dict": state}, tmp_path / "given.pth")
    with pytest.raises(
        WeightsError, match=r"1 of its 102 tensors are missing or of another shape \(cnn.conv1.weight\)"
    ):
        convert_checkpoint(tmp_path / "given.pth", name="tsm_resnet18", num_classes=K)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Checkpoints by suffix, as bytes."""
    folder, state = tmp_path_factory.mktemp("sound"), create_model("tsn_test_resnet", num_classes=K).cnn.state_dict()
    torch.save({"state_dict": state}, folder / "new.pth")
    torch.save({"state_dict": state}, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "it.safetensors")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(["new.pth", "old.pth", "it.safetensors"]), data=st.data())
def test_damaged_checkpoints_are_read_or_refused(sound, tmp_path_factory, name, data):
    content = bytearray(sound[name])
    edges = st.integers(0, 4000) | st.integers(len(content) - 8000, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(edges)] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    try:
        convert_checkpoint(path, name="tsn_test_resnet", num_classes=K)
    except WeightsError as error:
        assert str(path) in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shifted_at", "name", "same"),
    [
        ([rf"layer{s}\.{b}\.conv1" for s in (1, 2, 3, 4) for b in (0, 1)], "tsm_resnet18", True),
        ([], "tsn_resnet18", True),
        ([], "tsm_resnet18", False),  # no shift, as in an image classifier
        ([rf"layer{s}\.{b}" for s in (1, 2, 3, 4) for b in (0, 1)], "tsm_resnet18", False),  # shift_place=block
        ([rf"layer{s}\.0\.conv1" for s in (1, 2, 3, 4)], "tsm_resnet18", False),  # every second block
        ([rf"layer{s}\.{b}\.conv1" for s in (1, 2, 3, 4) for b in (0, 1)], "tsn_resnet18", False),
    ],
)
def test_a_network_that_shifts_elsewhere_is_a_start_only(tmp_path, capsys, shifted_at, name, same):
    state = torchvision.models.resnet18(num_classes=K).state_dict()
    for place in shifted_at:
        state = {re.sub(rf"^({place})\.", r"\1.net.", name): tensor for name, tensor in state.items()}
    torch.save(state, tmp_path / "given.pth")
    (tmp_path / "labels.txt").write_text("".join(f"class {number}\n" for number in range(K)))

    assert convert_checkpoint(tmp_path / "given.pth", name=name, num_classes=K).same_shift is same

    arguments = ["convert", str(tmp_path / "given.pth"), "--labels", str(tmp_path / "labels.txt"), "--model", name]
    assert main([*arguments, "--out", str(tmp_path / "weights")]) == 0
    said = capsys.readouterr().out
    assert ("Try it" in said) is same
    assert ("shifts other convolutions" in said) is not same
    assert ("Train before use" in said) is not same


def test_what_a_start_lacks_is_new_in_the_training_and_learns(tmp_path):
    checkpoint = checkpoint_of(published(), tmp_path / "tsm.pth.tar")
    done = convert_checkpoint(checkpoint, name="lsn_ss_resnet18", num_classes=K, num_frames=T)
    labels = [f"class {number}" for number in range(K)]
    save_weights(tmp_path / "start", done.model, labels=labels, input=InputConfig(), metrics={}, untrained=done.fresh)

    config = ModelConfig(name="lsn_ss_resnet18", num_frames=T, initial_weights=str(tmp_path / "start"))
    model = start_model(config, labels, seed=0)

    new = {name for name, _ in model.named_parameters() if name.startswith("memory.")}
    assert model.new_parameter_names() == new
    model.train()
    freeze_batch_norm(model, "partial", new_names=new)
    model(torch.randn(2, T, 3, 32, 32)).square().sum().backward()
    assert model.memory["3"].expand[1].weight.grad.abs().sum() > 0
    other = start_model(config, ["another", *labels[1:]], seed=0)
    assert other.new_parameter_names() == new | {"cnn.fc.weight", "cnn.fc.bias"}


def test_the_command_writes_a_weights_folder_and_tells_what_became_of_the_tensors(tmp_path, capsys):
    network = published()
    checkpoint = checkpoint_of(network, tmp_path / "tsm.pth.tar")
    (tmp_path / "labels.txt").write_text("".join(f"class {number}\n" for number in range(K)))
    arguments = ["convert", str(checkpoint), "--labels", str(tmp_path / "labels.txt"), "--num-frames", str(T)]

    assert main([*arguments, "--model", "tsm_resnet18", "--out", str(tmp_path / "weights")]) == 0
    said = capsys.readouterr().out
    assert f"{len(network.state_dict())}" in said
    assert "lsn predict" in said
    loaded = load_weights(tmp_path / "weights")
    assert loaded.labels == tuple(f"class {number}" for number in range(K))
    clip_BTCHW = torch.randn(1, T, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(clip_BTCHW), network(clip_BTCHW), rtol=1e-4, atol=1e-4)

    assert main([*arguments, "--model", "lsn_ss_resnet18", "--out", str(tmp_path / "start")]) == 0
    assert "Train before use" in capsys.readouterr().out
    assert main([*arguments, "--model", "tsm_resnet18", "--out", str(tmp_path / "weights")]) == 2
    assert "exists" in capsys.readouterr().err
