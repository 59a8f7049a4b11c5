"""Weights folders that nobody should trust, and using them."""

from __future__ import annotations

import json
import shutil
import socket
import struct
from pathlib import Path
from random import Random
from typing import Any

from damage import ODDITIES, damaged, flipped, put_oddity
from structure import mutated

NUM_CASES = 100
LABELS = ("left", "right", "up")
CONFIG, TENSORS = "config.json", "model.safetensors"

_NAMES = (
    "lsn_resnet50", "lsn_nothing", "resnet10t", "", "lsn_", "tsn_test_resnet", "lsn_ss_test_resnet", "lsn_test_vit",
    "lsn_hf-hub:someone/something", "lsn_hf_hub:timm/resnet18.a1_in1k", "lsn_local-dir:/etc", "LSN_TEST_RESNET",
    "lsn_vit_giant_patch14_dinov2", "lsn_resnet10t.c3_in1k", "lsn_test_resnet/../x", "lsn_" + "a" * 1000,
    "lsn_test_resnet.r160_in1k", "convlstm_test_resnet", "tsm_vit_giant_patch14_dinov2", "lsn_\ud800",
)  # fmt: skip
_KEYS = ("pretrained", "backbone_weights", "pretrained_cfg", "device", "self", "__class__", "in_chans")
_KEY_VALUES = (True, "/dev/zero", "https://localhost/x.safetensors")


def write_original(folder: Path) -> None:
    """A small model whose description names every option of its memory."""
    import torch

    from lsn.config import FrameRates, InputConfig
    from lsn.models import create_model
    from lsn.models.weights import save_weights

    torch.manual_seed(0)
    options = {
        "memory_stages": (2, 3),
        "dropout": 0.5,
        "order": 2,
        "steps": 2,
        "rank": 4,
        "kernel_size": 3,
        "reduction": 4,
    }
    model = create_model("lsn_test_resnet", num_classes=len(LABELS), num_frames=2, **options)
    save_weights(
        folder,
        model,
        labels=LABELS,
        input=InputConfig(size=32, short_side=32),
        metrics={"top1": 0.5, "views": "1 clip"},
        untrained=["cnn.fc.weight"],
        frame_rates=FrameRates(8.0, 8.0, 8.0),
    )


def make_case(number: int, folder: Path, original: Path) -> tuple[Path, str]:
    """A copy of the original with something wrong; the same for a number each time."""
    random = Random(f"weights/{number}")
    weights = folder / "weights"
    weights.mkdir()
    config, tensors = (original / CONFIG).read_bytes(), (original / TENSORS).read_bytes()
    (weights / CONFIG).write_bytes(config)
    (weights / TENSORS).write_bytes(tensors)
    if number < 2 * len(ODDITIES):
        path = weights / (CONFIG, TENSORS)[number % 2]
        path.unlink()
        put_oddity(ODDITIES[number // 2], path)
        return weights, f"{path.name} is a {ODDITIES[number // 2]}"
    if number == 2 * len(ODDITIES):
        shutil.rmtree(weights)
        weights.symlink_to(weights)
        return weights, "the folder is a link to itself"
    if number % 10 < 5:
        text, what = _mutated_config(json.loads(config), number, random)
        (weights / CONFIG).write_text(text, encoding="utf-8", errors="surrogatepass")
        return weights, f"{CONFIG}: {what}"
    if number % 10 == 5:
        data, what = damaged(config, random, other=tensors)
        (weights / CONFIG).write_bytes(data)
        return weights, f"{CONFIG}: {what}"
    data, what = _mutated_tensors(tensors, random, config)
    (weights / TENSORS).write_bytes(data)
    return weights, f"{TENSORS}: {what}"


def _mutated_config(config: dict[str, Any], number: int, random: Random) -> tuple[str, str]:
    if number % 10 == 0:
        config["model"]["name"] = _NAMES[number // 10]
        return json.dumps(config), f"model.name is {config['model']['name'][:40]!r}"
    if number % 10 == 1:
        key, value = _KEYS[number // 10 % len(_KEYS)], _KEY_VALUES[number // 10 // len(_KEYS)]
        config["model"][key] = value
        return json.dumps(config), f"model.{key} is {value!r}"
    if number % 10 == 2:
        return mutated(config, random, odd_keys=_KEYS)
    text, what = mutated(config["model"], random, odd_keys=_KEYS)
    return json.dumps(config | {"model": "@"}).replace('"@"', text), f"model: {what}"


def _mutated_tensors(data: bytes, random: Random, other: bytes) -> tuple[bytes, str]:
    """Damage to a safetensors file: 8 bytes of length, a header of JSON, and the numbers."""
    size = struct.unpack_from("<Q", data)[0]
    header, numbers = data[8 : 8 + size], data[8 + size :]
    kind = random.choice(("bytes", "header bits", "number bits", "header", "header", "tensor", "tensor", "length"))
    if kind == "bytes":
        return damaged(data, random, other=other)
    if kind == "header bits":
        return flipped(data[: 8 + size], random, random.choice((1, 5))) + numbers, kind
    if kind == "number bits":
        return data[: 8 + size] + flipped(numbers, random, random.choice((1, 1000))), kind
    if kind == "length":
        length = random.choice((0, 1, size - 1, size + 1, len(data), 2**31, 2**63, 2**64 - 1))
        return struct.pack("<Q", length) + data[8:], f"a header of {length} bytes"
    parsed = json.loads(header)
    if kind == "header":
        names = random.sample(sorted(parsed), 3)
        text, what = mutated({name: parsed[name] for name in names}, random)
        rest = json.dumps({name: value for name, value in parsed.items() if name not in names})
        text = f"{text.rstrip()[:-1]}, {rest[1:]}" if text.startswith("{") and len(text) > 2 else text
    else:
        text, what = _changed_tensor(parsed, random)
    encoded = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(encoded)) + encoded + numbers, f"header: {what}"


def _changed_tensor(header: dict[str, Any], random: Random) -> tuple[str, str]:
    name = random.choice([name for name, about in header.items() if about.get("shape")])
    about = header[name]
    kind = random.choice(("rename", "drop", "shape", "dtype", "huge", "twice", "offsets"))
    if kind == "rename":
        header[random.choice((f"{name}.x", name.upper(), "", "cnn"))] = header.pop(name)
    elif kind == "drop":
        del header[name]
    elif kind == "shape":
        about["shape"] = random.choice((about["shape"][::-1], [1, *about["shape"]], [about["shape"][0] * 2], [-1], []))
    elif kind == "dtype":
        about["dtype"] = random.choice(("I32", "F64", "BOOL", "U8", "F8_E4M3", "X"))
    elif kind == "huge":
        about["shape"] = [2**20, 2**20, 2**20]
    elif kind == "twice":
        return f"{json.dumps(header)[:-1]}, {json.dumps({name: about})[1:]}", f"{kind} {name}"
    else:
        about["data_offsets"] = random.choice(([0, 0], [0, 2**63], [2**63, 0], about["data_offsets"][::-1]))
    return json.dumps(header), f"{kind} {name}"


def load_and_run(folder: Path) -> None:
    """Loads the weights and gives them two frames; whoever asks for the network fails."""
    import torch

    from lsn.errors import LSNError
    from lsn.models.weights import load_weights

    asked = refuse_network()
    try:
        loaded = load_weights(folder)
        assert loaded.labels and all(isinstance(label, str) for label in loaded.labels)
        assert isinstance(loaded.metrics, dict)
        with torch.inference_mode():
            logits_BK = loaded.model(torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8))
        assert logits_BK.shape == (1, len(loaded.labels))
    except LSNError:
        assert not asked, asked
        raise
    assert not asked, asked


def refuse_network() -> list[str]:
    """Makes every attempt to reach another machine fail, and lists them."""
    asked: list[str] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(repr(arguments))
        raise OSError("no network here")

    socket.getaddrinfo = socket.create_connection = refuse
    socket.socket.connect = socket.socket.connect_ex = refuse
    return asked
