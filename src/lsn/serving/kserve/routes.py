"""The routes of KServe's protocol, for clients that speak it already."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

import lsn
from lsn.errors import ConfigError
from lsn.serving.access import refused
from lsn.serving.kserve.sequences import InferSequences, SequenceEndedError, SequenceLimitError
from lsn.serving.kserve.tensors import (
    HEADER_LENGTH,
    INPUT,
    LABEL,
    PROBABILITIES,
    InferRequest,
    RequestError,
    answer_body,
    parse_request,
)
from lsn.serving.live import MAX_PIXELS
from lsn.serving.streams import LiveStreams

RETRY = {"Retry-After": "5"}
MAX_PARSED = 2
"""Requests that are parsed at the same time, as JSON takes many times its size in memory."""
REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {
                    "parameters": {"sequence_id": 7, "sequence_start": True},
                    "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [255] * 6}],
                },
            }
        },
    }
}


def kserve_routes(streams: LiveStreams, sequences: InferSequences) -> APIRouter:
    """The routes below /v2; the one model is that of the server."""
    routes = APIRouter(prefix="/v2", tags=["KServe"])
    parsing = asyncio.Semaphore(MAX_PARSED)
    name, labels = streams.predictor.network.name, streams.predictor.labels

    @routes.get("")
    def server() -> dict[str, Any]:
        """What serves."""
        return {"name": "lsn", "version": lsn.__version__, "extensions": ["sequence", "binary_tensor_data"]}

    @routes.get("/health/live")
    def server_live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @routes.get("/health/ready", responses={503: {}})
    def server_ready() -> Response:
        """Whether it can take work."""
        return JSONResponse({"ready": streams.is_running}, 200 if streams.is_running else 503)

    @routes.get("/models/{model}", responses={404: {}})
    def model(model: str) -> Response:
        """What the model takes and gives. Send as many frames a second as `fps` says."""
        if model != name:
            return _unknown(model, name)
        frames = {"name": INPUT, "datatype": "UINT8", "shape": [-1, -1, -1, 3]}
        outputs = [
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, len(labels)]},
            {"name": LABEL, "datatype": "BYTES", "shape": [-1]},
        ]
        about = {"name": name, "versions": ["1"], "platform": "lsn", "inputs": [frames], "outputs": outputs}
        return JSONResponse({**about, "parameters": {"fps": streams.predictor.fps, "labels": list(labels)}})

    @routes.get("/models/{model}/ready", responses={404: {}, 503: {}})
    def model_ready(model: str) -> Response:
        """Whether the model can take work."""
        return server_ready() if model == name else _unknown(model, name)

    @routes.post("/models/{model}/infer", openapi_extra=REQUEST, responses={400: {}, 404: {}, 429: {}, 503: {}})
    async def infer(request: Request, model: str) -> Response:
        """Probabilities after each frame, of a sequence or of the request alone."""
        if model != name:
            return _unknown(model, name)
        try:
            body, header_length = await request.body(), request.headers.get(HEADER_LENGTH)
            async with parsing:
                asked = await asyncio.to_thread(parse_request, body, header_length, max_pixels=MAX_PIXELS)
            return await _answer(name, asked, sequences, request.state.client)
        except RequestError as error:
            return refused(400, str(error))
        except SequenceLimitError as error:
            return refused(429, str(error), RETRY)
        except (ConfigError, SequenceEndedError) as error:
            return refused(503, str(error), RETRY)

    return routes


async def _answer(model: str, asked: InferRequest, sequences: InferSequences, client: str) -> Response:
    if asked.sequence_id is None:
        answers = await sequences.infer_once(client, asked.frames)
    else:
        answers = await sequences.infer(
            client, asked.sequence_id, asked.frames, is_start=asked.is_start, is_end=asked.is_end
        )
    found = {
        PROBABILITIES: np.stack([answer.probabilities for answer in answers]).astype(np.float32),
        LABEL: [answer.label for answer in answers],
    }
    about = {"model_name": model, "model_version": "1"} | ({} if asked.id is None else {"id": asked.id})
    body, size = answer_body(about, asked.outputs, found)
    if size == len(body):
        return Response(body, media_type="application/json")
    return Response(body, media_type="application/octet-stream", headers={HEADER_LENGTH: str(size)})


def _unknown(model: str, name: str) -> Response:
    return refused(404, f"no model {model[:80]!r}; this server has {name}")
