"""The example for Node.js gives PyTorch's logits."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from small_recognizer import INPUT, LABELS

from lsn.models.weights import load_weights

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples/node_stream.mjs"


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The example beside onnxruntime-node."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node.js and npm")
    folder = tmp_path_factory.mktemp("node")
    # Without scripts, which fetch what only GPUs need.
    install = ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "onnxruntime-node"]
    if subprocess.run(install, capture_output=True, timeout=300).returncode != 0:
        pytest.skip("onnxruntime-node cannot be installed here")
    return Path(shutil.copy(EXAMPLE, folder))


def test_a_stream_in_node(program, weights, exported):
    folder, _ = exported
    frames_THWC = np.random.default_rng(0).integers(0, 256, (5, INPUT.size, INPUT.size, 3), dtype=np.uint8)
    done = subprocess.run(
        ["node", program, folder], input=frames_THWC.tobytes(), capture_output=True, timeout=60, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    with torch.inference_mode():
        clip_BTCHW = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)[None]
        expected = load_weights(weights).model.forward_frames(clip_BTCHW)[0].numpy()
    found = np.array([line["logits"] for line in lines])
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert [line["label"] for line in lines] == [LABELS[number] for number in expected.argmax(axis=1)]
