"""Requests and answers of KServe's protocol, as JSON or with Triton's binary data behind the JSON.

References:
    https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

Shapes: T frames, K classes, H height, W width, C = 3 channels.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsn.errors import LSNError, VideoError
from lsn.video.decoding.frames_reader import decode_image, image_size

INPUT, PROBABILITIES, LABEL = "frames", "probabilities", "label"
MAX_FRAMES, MAX_PIXELS_IN_ALL = 256, 32 << 20
"""Of a request."""
HEADER_LENGTH = "inference-header-content-length"
"""The header with the length of the JSON, behind which binary data begin."""


class RequestError(LSNError):
    """A request that cannot be understood, or asks for what is not there."""


@dataclass(frozen=True)
class InferRequest:
    """What is asked."""

    id: str | None
    """That the client gave the request."""
    sequence_id: int | str | None
    """None for frames that are a sequence of their own."""
    is_start: bool
    is_end: bool
    frames: tuple[np.ndarray, ...]
    """uint8 RGB, HWC."""
    outputs: Mapping[str, bool]
    """What is wanted, and whether as binary data."""


def parse_request(body: bytes, header_length: str | None, *, max_pixels: int) -> InferRequest:
    """Reads a request.

    Args:
        body: JSON, and binary data behind it.
        header_length: bytes of the JSON; None for all.
        max_pixels: of a frame.

    Raises:
        RequestError: it is not like that.
    """
    size = len(body)
    if header_length is not None:
        if not re.fullmatch(r"[0-9]{1,12}", header_length) or int(header_length) > size:
            raise RequestError(f"{HEADER_LENGTH} is {header_length[:20]!r} in a body of {size} bytes")
        size = int(header_length)
    try:
        content = json.loads(body[:size])
    except (ValueError, RecursionError):
        raise RequestError("the body does not begin with JSON") from None
    content = _object(content, "the body")
    parameters = _object(content.get("parameters") or {}, "parameters")
    sequence_id = parameters.get("sequence_id")
    if not isinstance(sequence_id, int | str | None) or isinstance(sequence_id, bool):
        raise RequestError("sequence_id must be a number or a text")
    return InferRequest(
        None if content.get("id") is None else str(content["id"]),
        None if sequence_id in (0, "") else sequence_id,  # as in Triton
        _flag(parameters, "sequence_start"),
        _flag(parameters, "sequence_end"),
        _frames(content.get("inputs"), body[size:], max_pixels),
        _outputs(content.get("outputs"), is_binary=_flag(parameters, "binary_data_output")),
    )


def answer_body(about: Mapping[str, Any], outputs: Mapping[str, bool], found: Mapping[str, Any]) -> tuple[bytes, int]:
    """Writes an answer.

    Args:
        about: the request and the model, for the JSON.
        outputs: what is wanted, and whether as binary data.
        found: an array of float32, T x K, or T texts, for each output.

    Returns:
        The body, and the bytes of its JSON: all of them without binary data.
    """
    described: list[dict[str, Any]] = []
    data: list[bytes] = []
    for name, is_binary in outputs.items():
        value = found[name]
        is_text = not isinstance(value, np.ndarray)
        output = {
            "name": name,
            "datatype": "BYTES" if is_text else "FP32",
            "shape": [len(value)] if is_text else list(value.shape),
        }
        if is_binary:
            data.append(b"".join(map(_with_length, value)) if is_text else value.astype("<f4").tobytes())
            described.append(output | {"parameters": {"binary_data_size": len(data[-1])}})
        else:
            described.append(output | {"data": list(value) if is_text else value.ravel().tolist()})
    head = json.dumps({**about, "outputs": described}).encode()
    return head + b"".join(data), len(head)


def _with_length(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{what}: expected a JSON object")
    return value


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false")
    return value


def _outputs(value: Any, *, is_binary: bool) -> dict[str, bool]:
    known = (PROBABILITIES, LABEL)
    if value is None:
        return dict.fromkeys(known, is_binary)
    if not isinstance(value, list):
        raise RequestError("outputs: expected a list")
    wanted = {}
    for each in value:
        output = _object(each, "an output")
        name = output.get("name")
        if name not in known:
            raise RequestError(f"no output {str(name)[:80]!r}; there are {' and '.join(known)}")
        parameters = _object(output.get("parameters") or {}, "parameters of an output")
        wanted[str(name)] = _flag({"binary_data": is_binary} | parameters, "binary_data")
    return wanted


def _frames(inputs: Any, data: bytes, max_pixels: int) -> tuple[np.ndarray, ...]:
    if not isinstance(inputs, list) or len(inputs) != 1 or _object(inputs[0], "an input").get("name") != INPUT:
        raise RequestError(f"expected one input, {INPUT!r}")
    tensor = inputs[0]
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise RequestError(f"{INPUT}: its shape must be a list of numbers above 0")
    if _object(tensor.get("parameters") or {}, INPUT).get("binary_data_size") is None:
        if "data" not in tensor:
            raise RequestError(f"{INPUT} has no data")
        given: Any = tensor["data"]
    elif tensor["parameters"]["binary_data_size"] != len(data):
        raise RequestError(f"{INPUT}: {len(data)} bytes of binary data came, not as many as its binary_data_size")
    else:
        given = data
    if shape and shape[0] > MAX_FRAMES:
        raise RequestError(f"{INPUT}: {shape[0]} frames; send at most {MAX_FRAMES} in a request")
    if datatype == "UINT8":
        return _pixels(given, shape, max_pixels)
    if datatype == "BYTES":
        return _pictures(given, shape, max_pixels)
    kind = repr(str(datatype)[:80])
    raise RequestError(f"{INPUT}: expected the datatype UINT8, or BYTES of JPEG, WebP or PNG, not {kind}")


def _pixels(given: Any, shape: Sequence[int], max_pixels: int) -> tuple[np.ndarray, ...]:
    if len(shape) != 4 or shape[3] != 3:
        raise RequestError(f"{INPUT}: expected the shape frames x height x width x 3 (RGB), not {shape}")
    if shape[1] * shape[2] > max_pixels:
        raise RequestError(f"{INPUT}: {shape[2]}x{shape[1]} pixels; send at most {max_pixels:,}")
    if isinstance(given, bytes):
        values = np.frombuffer(given, np.uint8)
    else:
        try:
            wide = np.array(given, np.int64)
        except (ValueError, TypeError, OverflowError):
            raise RequestError(f"{INPUT}: its data are no numbers") from None
        if wide.size and (wide.min() < 0 or wide.max() > 255):
            raise RequestError(f"{INPUT}: values of UINT8 are 0 to 255")
        values = wide.astype(np.uint8)
    if values.size != math.prod(shape):
        raise RequestError(f"{INPUT}: {values.size} values for the shape {shape}")
    return tuple(values.reshape(shape))


def _pictures(given: Any, shape: Sequence[int], max_pixels: int) -> tuple[np.ndarray, ...]:
    pictures = _split(given) if isinstance(given, bytes) else _decoded(given)
    if len(shape) != 1 or len(pictures) != shape[0]:
        raise RequestError(f"{INPUT}: {len(pictures)} pictures for the shape {shape}")
    found: list[np.ndarray] = []
    left = MAX_PIXELS_IN_ALL
    for t, each in enumerate(pictures):
        try:
            width, height = image_size(each, f"frame {t}")
            if left < width * height <= max_pixels:
                raise RequestError(f"{INPUT}: more than {MAX_PIXELS_IN_ALL:,} pixels in all; send fewer in a request")
            found.append(decode_image(each, f"frame {t}", max_pixels=max_pixels))
        except VideoError as error:
            raise RequestError(str(error)) from None
        left -= width * height
    return tuple(found)


def _split(data: bytes) -> list[bytes]:
    """Elements that stand behind their lengths."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data) or len(data) - at < 4 or len(found) == MAX_FRAMES:
            raise RequestError(f"{INPUT}: the lengths of its pictures do not fit its binary data")
        found.append(data[at + 4 : end])
        at = end
    return found


def _decoded(given: Any) -> list[bytes]:
    """Elements of JSON, which cannot hold bytes."""
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise RequestError(f"{INPUT}: expected a list of texts in base64")
    try:
        return [base64.b64decode(each, validate=True) for each in given]
    except (binascii.Error, ValueError):
        raise RequestError(f"{INPUT}: a picture is no base64") from None
