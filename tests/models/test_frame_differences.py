"""A CNN that also sees what changed: the same numbers as clip, in steps, in chunks and beside other streams."""

import pytest
import timm
import torch

from lsn.config import InputConfig
from lsn.errors import ModelError
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models import create_model
from lsn.models.backbone import widen_input
from lsn.models.cost import model_cost
from lsn.models.fuse import fuse
from lsn.models.weights import load_weights, save_weights
from lsn.streaming import StreamEngine

NAMES = ["lsn_test_resnet", "lsn_resnet10t", "convlstm_mobilenetv3_small_100", "tsn_tf_efficientnet_lite0"]
NAMES += ["lsn_convnext_atto", "lsn_regnety_002"]


def model_of(name, **options):
    torch.manual_seed(0)
    options = {"num_classes": 3, "num_frames": 6, "frame_differences": True, "zero_init_memory": False} | options
    return create_model(name, **options).eval()


def clip_of(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_steps_and_chunks_are_the_clip(name):
    model, clip_BTCHW = model_of(name), clip_of(2, 6, 3, 64, 64)
    expected_BTK = model.forward_frames(clip_BTCHW)
    state, steps = model.init_state(2, 64, 64), []
    for frame_BCHW in clip_BTCHW.unbind(1):
        logits_BK, state = model.step(frame_BCHW, state)
        steps.append(logits_BK)
    torch.testing.assert_close(torch.stack(steps, 1), expected_BTK, atol=1e-4, rtol=1e-4)
    first, state = model.step(clip_BTCHW[:, :4])
    rest, _ = model.step(clip_BTCHW[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), expected_BTK, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_the_cnn_sees():
    """The frame, and its difference from the one before: zero at the start, for a stream that joins late too."""
    model, seen = model_of("tsn_test_resnet"), []
    first = model.cnn.get_submodule(model.cnn.pretrained_cfg["first_conv"])
    first.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    clip_BTCHW = clip_of(2, 3, 3, 32, 32)
    model(clip_BTCHW)
    x_BTCHW = (clip_BTCHW / 255 - torch.tensor(model.mean).view(3, 1, 1)) / torch.tensor(model.std).view(3, 1, 1)
    got_BTCHW = seen.pop().unflatten(0, (2, 3))
    torch.testing.assert_close(got_BTCHW[:, :, :3], x_BTCHW, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got_BTCHW[:, 1:, 3:], x_BTCHW.diff(dim=1), atol=1e-5, rtol=1e-5)
    assert not got_BTCHW[:, 0, 3:].any()

    _, state = model.step(clip_BTCHW[:, 0])
    fresh = model.init_state(1, 32, 32)
    joined = state.with_tensors(
        {name: torch.cat([t[:1], fresh.tensors()[name]]) for name, t in state.tensors().items()}
    )
    seen.clear()
    model.step(clip_BTCHW[:, 1], joined)
    assert seen[0][0, 3:].any() and not seen[0][1, 3:].any()


@torch.no_grad()
def test_streams_in_an_engine_keep_their_own():
    model = model_of("lsn_test_resnet")
    clip_BTCHW = clip_of(2, 6, 3, 32, 32)
    expected_BTK = model.forward_frames(clip_BTCHW)
    engine = StreamEngine(PyTorchRuntime(model, height=32, width=32), 3)
    one, other = engine.acquire(), None
    for t in range(6):
        frames = {one: clip_BTCHW[0, t].numpy()}
        if t >= 2:  # the second stream comes later
            other = engine.acquire() if other is None else other
            frames[other] = clip_BTCHW[1, t - 2].numpy()
        logits = engine.step(frames).logits
        torch.testing.assert_close(torch.as_tensor(logits[one]), expected_BTK[0, t], atol=1e-4, rtol=1e-4)
        if other is not None:
            torch.testing.assert_close(torch.as_tensor(logits[other]), expected_BTK[1, t - 2], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_trained_cnn_sees_at_first_what_it_saw(tmp_path):
    """The weights of the new channels start at zero."""
    from safetensors.torch import save_file

    plain = create_model("tsn_test_resnet", num_classes=3, num_frames=4)
    weights = {k.removeprefix("cnn."): v for k, v in plain.state_dict().items() if ".fc." not in k}
    save_file(weights, tmp_path / "cnn.safetensors")
    models = [
        create_model(
            "tsn_test_resnet", num_classes=3, backbone_weights=str(tmp_path / "cnn.safetensors"), **more
        ).eval()
        for more in ({}, {"frame_differences": True})
    ]
    clip_BTCHW = clip_of(1, 4, 3, 64, 64)
    one, other = (model.forward_features(clip_BTCHW) for model in models)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_it_is_saved_fused_and_counted(tmp_path):
    model, clip_BTCHW = model_of("lsn_test_resnet"), clip_of(2, 6, 3, 64, 64)
    save_weights(tmp_path, model, labels=["a", "b", "c"], input=InputConfig(size=64, short_side=64), metrics={})
    loaded = load_weights(tmp_path).model
    assert loaded.frame_differences
    torch.testing.assert_close(loaded(clip_BTCHW), model(clip_BTCHW), rtol=0, atol=0)
    torch.testing.assert_close(fuse(model)(clip_BTCHW), model(clip_BTCHW), atol=1e-4, rtol=1e-4)
    plain = model_of("lsn_test_resnet", frame_differences=False)
    more, less = (model_cost(each, height=64, width=64) for each in (model, plain))
    assert more.macs > less.macs


def test_a_state_of_another_model_is_refused():
    model, plain = model_of("lsn_test_resnet"), model_of("lsn_test_resnet", frame_differences=False)
    frame_BCHW = clip_of(1, 3, 32, 32)
    for one, other in ((model, plain), (plain, model)):
        with pytest.raises(ModelError, match="the state is of another model"):
            one.step(frame_BCHW, other.init_state(1, 32, 32))


def test_a_cnn_whose_weights_are_standardised_would_not_stay_what_it_was():
    with pytest.raises(ModelError, match="has no convolution to see frame differences; leave frame_differences out"):
        widen_input(timm.create_model("nf_resnet26"), 6, zero_init=True)
