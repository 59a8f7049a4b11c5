import copy

import pytest
import torch
from model_helpers import awake
from timm.models import group_parameters
from torch.autograd.graph import saved_tensors_hooks

import lsn
from lsn.errors import ModelError, WeightsError
from lsn.models import recognizer, recompute
from lsn.models.factory import FAMILIES, TESTED_CNNS


def clip(frames: int = 5, size: int = 64) -> torch.Tensor:
    return torch.randn(2, frames, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cnn", TESTED_CNNS)
def test_every_listed_cnn_carries_shift_and_memory(cnn: str) -> None:
    model = awake(f"lsn_ss_{cnn}")
    assert [stage.reduction for stage in model.stages] == [4, 8, 16, 32]
    with torch.inference_mode():
        assert model(clip()).shape == (2, 4)
        features = model.forward_features(clip())
    assert features.shape[:2] == (2, 5)


@pytest.mark.parametrize("family", FAMILIES)
def test_clip_logits_are_the_mean_of_frame_logits(family: str) -> None:
    model = awake(f"{family}_resnet10t")
    with torch.inference_mode():
        frames_BTK = model.forward_frames(clip())
        torch.testing.assert_close(model(clip()), frames_BTK.mean(1))
        torch.testing.assert_close(model.forward_head(model.forward_features(clip())), frames_BTK)
    assert frames_BTK.shape == (2, 5, 4)


@pytest.mark.parametrize(("num_frames", "expected"), [(5, slice(3, 5)), (2, slice(0, 2)), (1, slice(0, 1))])
def test_an_answer_of_the_last_frames_leaves_those_before_out(num_frames: int, expected: slice) -> None:
    model = awake("lsn_resnet10t", readout_frames=2)
    with torch.inference_mode():
        frames_BTK = model.forward_frames(clip(num_frames))
        torch.testing.assert_close(model(clip(num_frames)), frames_BTK[:, expected].mean(1))


@pytest.mark.parametrize("readout_frames", [0, 17])
def test_an_answer_of_no_frames_or_more_than_there_are_is_refused(readout_frames: int) -> None:
    with pytest.raises(ModelError, match=f"readout_frames is {readout_frames}; .* 1 and num_frames .16."):
        lsn.create_model("lsn_resnet10t", readout_frames=readout_frames)


@pytest.mark.parametrize(
    ("name", "options", "causal", "ordered"),
    [
        ("tsn_resnet10t", {}, True, False),
        ("tsm_resnet10t", {}, False, True),
        ("tsm_resnet10t", {"shift": "causal"}, True, True),
        ("convlstm_resnet10t", {}, True, True),
        ("lsn_resnet10t", {}, True, True),
        ("lsn_ss_resnet10t", {}, False, True),
        ("lsn_ss_resnet10t", {"shift": "causal"}, True, True),
    ],
)
def test_what_each_family_can_know(name: str, options: dict, causal: bool, ordered: bool) -> None:
    model = awake(name, **options).double()
    x_BTCHW = clip().double()
    later = x_BTCHW.clone()
    later[:, 3:] = torch.randn_like(later[:, 3:])
    with torch.inference_mode():
        frames, changed = model.forward_frames(x_BTCHW), model.forward_frames(later)
        forward, backward = model(x_BTCHW), model(x_BTCHW.flip(1))
    assert model.is_causal is causal
    assert torch.allclose(frames[:, :3], changed[:, :3], atol=1e-12) is causal
    assert torch.allclose(forward, backward, atol=1e-9) is not ordered


def test_a_fresh_lsn_is_the_bare_cnn_on_every_frame() -> None:
    model = lsn.create_model("lsn_resnet10t", num_classes=4, num_frames=3).eval()
    x_BTCHW = clip(3)
    with torch.inference_mode():
        expected = torch.stack([model.cnn(x_BTCHW[:, t]) for t in range(3)], dim=1)
        torch.testing.assert_close(model.forward_frames(x_BTCHW), expected, atol=1e-5, rtol=1e-4)


def test_a_model_runs_on_any_number_of_frames_and_any_size() -> None:
    model = awake("lsn_ss_resnet10t")
    with torch.inference_mode():
        assert model(clip(1)).shape == (2, 4)
        assert model(clip(9, size=48)).shape == (2, 4)


def test_long_clips_in_parts_have_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"shift": "causal"}, {}):  # bidirectional: in one part
        model = awake("lsn_ss_resnet10t", **options)
        expected = model.forward_frames(clip(7)).detach()
        with torch.inference_mode(), monkeypatch.context() as patch:
            patch.setattr(recognizer, "PART_FRAMES", 3)
            torch.testing.assert_close(model.forward_frames(clip(7)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 0, 3, 64, 64), (2, 5, 1, 64, 64)])
def test_clips_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="B x T x 3 x H x W"):
        lsn.create_model("tsn_resnet10t", num_classes=2)(torch.zeros(shape))


def test_frames_are_bytes_or_normalised_floats() -> None:
    model = awake("lsn_resnet10t")
    frames = torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.mean, model.std))
    with torch.inference_mode():
        torch.testing.assert_close(model(frames), model((frames / 255 - mean) / std), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.step(frames)[0], model.forward_frames(frames), rtol=1e-4, atol=1e-4)
    for values in (frames.long(), frames.bool()):
        with pytest.raises(ModelError, match="uint8 RGB, or of normalised floats"):
            model(values)
    assert not {"_mean_C", "_std_C"} & model.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "options", "train"),
    [
        ("lsn_ss_test_resnet", {}, True),
        ("lsn_ss_test_resnet", {"shift": "causal"}, False),
        pytest.param("convlstm_mobilenetv3_small_100", {}, True, marks=pytest.mark.slow),
        pytest.param("lsn_convnext_atto", {}, True, marks=pytest.mark.slow),
    ],
)
def test_grad_checkpointing_changes_nothing(
    name: str, options: dict, train: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recompute, "CHUNK_FRAMES", 4)
    plain = awake(name, dropout=0.0, **options).double().train(train)
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    kept = []
    for model in (plain, saving):
        with saved_tensors_hooks(lambda tensor: (kept[-1].append(tensor.nbytes), tensor)[1], lambda tensor: tensor):
            kept.append([])
            loss = model(clip(5).double()).square().sum()
        model.eval().forward_frames(clip(2).double())  # another length in between must not disturb
        model.train(train)
        loss.backward()
    assert sum(kept[1]) < sum(kept[0]) / 2
    for (key, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)
    torch.testing.assert_close(dict(saving.named_buffers()), dict(plain.named_buffers()))


def test_reset_classifier_replaces_only_the_classifier() -> None:
    model = awake("lsn_resnet10t")
    model.mark_trained(name for name, _ in model.named_parameters())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.reset_classifier(7)
    assert model.num_classes == model.get_classifier().out_features == model.arguments["num_classes"] == 7
    assert model.new_parameter_names() == {"cnn.fc.weight", "cnn.fc.bias"}
    for name, tensor in model.state_dict().items():
        assert name.startswith("cnn.fc.") or torch.equal(tensor, before[name])


@pytest.mark.parametrize("cnn", ["resnet10t", "tf_efficientnet_lite0", "convnext_atto", "regnety_002", "mobilevit_xxs"])
def test_parameter_groups_follow_the_depth(cnn: str) -> None:
    model = lsn.create_model(f"lsn_{cnn}", num_classes=2)
    groups = group_parameters(model, model.group_matcher(), reverse=True)
    assert set(groups) == {name for name, _ in model.named_parameters()}
    first_of = [min(depth for name, depth in groups.items() if name.startswith(f"memory.{n}.")) for n in range(4)]
    for n, stage in enumerate(model.stages):
        own = [depth for name, depth in groups.items() if name.startswith(f"cnn.{stage.name}.")]
        assert max(own) < first_of[n], "a memory block stands behind its stage"
        if n:
            assert min(own) > first_of[n - 1], "and before the next"


def test_models_are_listed_by_family_and_cnn() -> None:
    names = lsn.list_models()
    assert len(names) == len(set(names)) == len(FAMILIES) * len(TESTED_CNNS)
    assert lsn.list_models("lsn_ss_*50") == ["lsn_ss_resnet50"]
    assert set(lsn.list_models("resnet50")) == {f"{family}_resnet50" for family in FAMILIES}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("lsn_resnet5O", {}, "did you mean 'resnet50'"),
        ("lsm_resnet50", {}, "'lsm_resnet50' is not a model"),
        ("lsn_vit_tiny_patch16_224", {}, "not a plain sequence of stages"),
        ("lsn_resnet10t", {"ordr": 2}, "did you mean 'order'"),
        ("lsn_resnet10t", {"num_frames": 0}, "num_frames is 0"),
        ("lsn_resnet10t", {"num_classes": 0}, "num_classes is 0"),
        ("lsn_resnet10t", {"memory": "lstm"}, "memory is 'lstm'; did you mean 'convlstm'"),
        ("lsn_resnet10t", {"shift": "both"}, "shift is 'both'"),
        ("tsn_mobilenetv3_small_100", {"dropout": 1.5}, "dropout is 1.5"),
        ("lsn_resnet10t", {"memory_stages": (4,)}, "stages are 0 to 3"),
    ],
)
def test_bad_names_and_options_are_named(name: str, options: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        lsn.create_model(name, **options)


def test_backbone_weights_are_read_from_a_local_file(tmp_path) -> None:
    from safetensors.torch import save_file

    source = lsn.create_model("tsn_resnet10t", num_classes=1000).cnn
    save_file(source.state_dict(), tmp_path / "cnn.safetensors")
    model = lsn.create_model("lsn_resnet10t", num_classes=3, backbone_weights=str(tmp_path / "cnn.safetensors"))
    assert torch.equal(model.cnn.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    new = model.new_parameter_names()
    assert {"cnn.fc.weight", "memory.0.reduce.0.weight"} <= new
    assert "cnn.layer1.0.conv1.weight" not in new


def test_backbone_weights_that_cannot_serve_are_refused(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors here")
    for name, said in [
        ("missing.safetensors", "no such file"),
        ("pickle.pth", "pickled weights can run code"),
        ("other.safetensors", "not weights of timm's resnet10t"),
        ("text.safetensors", "not weights of timm's resnet10t"),
    ]:
        with pytest.raises(WeightsError, match=said):
            lsn.create_model("lsn_resnet10t", backbone_weights=str(tmp_path / name))
