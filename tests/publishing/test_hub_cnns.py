"""CNNs that timm pushed to the Hub start models."""

import json
from typing import Any

import pytest
import timm
import yaml
from hub_server import Repository
from safetensors.torch import load, save


def timm_files(name: str, **changes: Any) -> dict[str, bytes]:
    """A CNN as timm pushes it."""
    model = timm.create_model(name, num_classes=7)
    cfg = {key: list(model.pretrained_cfg[key]) for key in ("mean", "std")} | changes
    config = {"architecture": name, "num_classes": 7, "pretrained_cfg": cfg}
    return {"model.safetensors": save(model.state_dict()), "config.json": json.dumps(config).encode()}


@pytest.mark.slow
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
