import pytest
import torch

from lsn.errors import ConfigError
from lsn.hardware import resolve_device


@pytest.mark.parametrize(
    "name",
    [
        "meta",
        "cpu:99",
        "cuda:77",
        "xpu:9",
        "xla",
        "vulkan",
        "hpu",
        "privateuseone",
        "opengl",
        "",
        " ",
        "cpu:",
        "\0",
        "\ud800",
    ],
)
def test_what_cannot_compute_is_refused(name) -> None:
    with pytest.raises(ConfigError, match=r"device '.*' cannot be used \(.+\); use cpu, cuda, cuda:1, mps or auto"):
        resolve_device(name)


def test_what_can_compute_is_taken() -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("cpu:0").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
