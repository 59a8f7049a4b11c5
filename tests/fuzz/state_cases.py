"""Damaged and forged states of streams, and going on from them."""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from damage import ODDITIES, damaged, flipped, put_oddity

NUM_CASES = 100
_KINDS = ["flip"] * 30 + ["flip in the header"] * 25 + ["damage"] * 12 + ["forged"] * 26 + list(ODDITIES)
_FPS, _LABELS = 8.0, ("left", "right", "up")
_ODD_TEXTS = (
    "",
    "0",
    "-1",
    "1",
    "31",
    "33",
    "1000000",
    "4000000000",
    "nan",
    "x",
    "²",
    "1e3",
    "a" * 5000,
    "\ud800",
    "2",
)


def write_original(folder: Path) -> None:
    """Weights, and `state.safetensors` of a stream in the middle of an event."""
    import torch

    from lsn.config import FrameRates, InputConfig
    from lsn.models import create_model
    from lsn.models.weights import save_weights

    torch.manual_seed(0)
    model = create_model("lsn_test_resnet", num_classes=len(_LABELS), num_frames=2)
    with torch.no_grad():  # an untrained memory says nothing, and its state would not matter
        for name, parameter in model.memory.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(0.5)
        model.get_classifier().weight.mul_(30)
    rates, input = FrameRates(_FPS, _FPS, _FPS), InputConfig(size=32, short_side=32)
    save_weights(folder, model, labels=_LABELS, input=input, metrics={}, frame_rates=rates)
    stream = predictor(folder).open()
    _push(stream, range(6))
    stream.save(folder / "state.safetensors")
    stream.close()


def make_case(number: int, folder: Path, original: Path) -> tuple[Path, str]:
    """A state with something wrong; the same for a number each time."""
    random, kind = Random(f"states/{number}"), _KINDS[number]
    path, data = folder / "state.safetensors", (original / "state.safetensors").read_bytes()
    size = 8 + struct.unpack_from("<Q", data)[0]
    if kind in ODDITIES:
        put_oddity(kind, path)
        return path, f"a {kind}"
    if kind == "flip":
        data = flipped(data, random, 1)
    elif kind == "flip in the header":
        data = flipped(data[:size], random, 1) + data[size:]
    elif kind == "damage":
        data, kind = damaged(data, random, other=(original / "model.safetensors").read_bytes())
    else:
        header, kind = _forged(json.loads(data[8:size]), random)
        encoded = json.dumps(header).encode()
        data = struct.pack("<Q", len(encoded)) + encoded + data[size:]
    path.write_bytes(data)
    if is_forged(number) and random.random() < 0.7:
        _sign(path)
    return path, kind


def _sign(path: Path) -> None:
    """Gives a forged file the checksum that it should have, so that what it says is looked at; unless it is none."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from lsn.tensor_file import write_tensors

    try:
        with safe_open(path, framework="pt") as file:
            about = {key: text for key, text in file.metadata().items() if key != "lsn_sha256"}
        tensors = load_file(path)
    except SafetensorError:
        return
    write_tensors(path, tensors, about)


def is_forged(number: int) -> bool:
    """Whether a case is a state that somebody made so, which may go on otherwise than the original."""
    return _KINDS[number] == "forged"


def _forged(header: dict[str, Any], random: Random) -> tuple[dict[str, Any], str]:
    about = header["__metadata__"]
    name = random.choice([name for name in header if name != "__metadata__"])
    tensor = header[name]
    match random.choice(("text", "text", "no text", "shape", "type", "missing", "renamed", "other numbers")):
        case "text":
            key = random.choice(list(about))
            about[key] = random.choice(_ODD_TEXTS)
            what = f"{key} is {about[key][:20]!r}"
        case "no text":
            key = random.choice(list(about))
            del about[key]
            what = f"no {key}"
        case "shape":
            tensor["shape"] = random.choice(([1, *tensor["shape"]], [*tensor["shape"], 1], tensor["shape"][::-1], []))
            what = f"{name} has the shape {tensor['shape']}"
        case "type":
            tensor["dtype"] = random.choice(("I64", "F64", "I32", "F32", "U8", "BOOL", "F16"))
            what = f"{name} is {tensor['dtype']}"
        case "missing":
            del header[name]
            what = f"no {name}"
        case "renamed":
            header[f"{name}x"] = header.pop(name)
            what = f"{name} has another name"
        case _:
            other = random.choice([other for other in header if other not in ("__metadata__", name)])
            tensor["data_offsets"], header[other]["data_offsets"] = (
                header[other]["data_offsets"],
                tensor["data_offsets"],
            )
            what = f"{name} and {other} have each other's numbers"
    return header, what


@cache
def predictor(weights: Path) -> Any:
    """The predictor of the weights, made once a process."""
    from lsn.streaming import EventRules, StreamingPredictor

    return StreamingPredictor(
        weights, device="cpu", events=EventRules(on_threshold=0.02, off_threshold=0.01, min_seconds=0)
    )


def go_on(state: Path, weights: Path) -> list[Any]:
    """The answers to the frames that follow on those of the state, and the time that the stream has come to."""
    stream = predictor(weights).open(state=state)
    return [*_push(stream, range(6, 10)), stream.seconds]


def _push(stream: Any, numbers: range) -> list[Any]:
    import numpy as np

    answers = []
    for number in numbers:
        frame = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        for answer in stream.push(3 + number / _FPS, frame):
            said = answer.to_dict()
            del said["timings_ms"]
            answers.append(said)
    return answers
