"""The protocol of KServe, spoken by Triton's own client."""

import base64
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_recognizer import LABELS, noisy_frames

from lsn.streaming import StreamingPredictor
from lsn.video.decoding.frames_reader import decode_image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import CAPACITY, Server, end, pictures, start, wait_until_free

NUM_FRAMES = 6
IDLE_SECONDS = 4


@pytest.fixture(scope="module")
def server(weights) -> Iterator[Server]:
    server = start(weights, "--idle-seconds", str(IDLE_SECONDS))
    yield server
    end(server)


def infer(server: Server, **content: Any) -> tuple[int, Any]:
    name = server.ask("/v1/model")[1]["model"]
    return server.ask(f"/v2/models/{name}/infer", json.dumps(content).encode())


def frames_input(frames_THWC: np.ndarray) -> list[dict[str, Any]]:
    values = frames_THWC.ravel().tolist()
    return [{"name": "frames", "datatype": "UINT8", "shape": list(frames_THWC.shape), "data": values}]


def expected(weights, frames) -> np.ndarray:
    """The answers to frames as a stream of their own, at the model's rate."""
    predictor = StreamingPredictor(weights)
    session = predictor.open()
    found = [answer for t, frame in enumerate(frames) for answer in session.push(t / predictor.fps, frame)]
    found += session.finish(len(frames) / predictor.fps)[0]
    return np.stack([answer.probabilities for answer in found])


def test_sequences_of_tritons_client_keep_their_memories_apart(server, weights):
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(server.address.partition("//")[2])
    assert client.is_server_live()
    assert client.is_server_ready()
    name = server.ask("/v1/model")[1]["model"]
    assert client.is_model_ready(name)
    about = client.get_model_metadata(name)
    assert [each["name"] for each in about["outputs"]] == ["probabilities", "label"]
    sent = {7: noisy_frames(1, num_frames=NUM_FRAMES).numpy(), "yard": noisy_frames(2, num_frames=NUM_FRAMES).numpy()}
    answers: dict[int | str, list[np.ndarray]] = {id: [] for id in sent}
    for t in range(NUM_FRAMES):
        for id, frames in sent.items():
            given = triton.InferInput("frames", [1, *frames.shape[1:]], "UINT8")
            given.set_data_from_numpy(frames[t : t + 1], binary_data=t % 2 == 0)
            wanted = [triton.InferRequestedOutput("probabilities", binary_data=t % 3 == 0)]
            wanted += [triton.InferRequestedOutput("label", binary_data=True)]
            flags = {"sequence_id": id, "sequence_start": t == 0, "sequence_end": t == NUM_FRAMES - 1}
            answer = client.infer(name, [given], outputs=wanted, request_id=f"{t}", **flags)
            assert answer.get_response()["id"] == f"{t}"
            probabilities = answer.as_numpy("probabilities")
            assert answer.as_numpy("label").tolist() == [LABELS[probabilities[0].argmax()].encode()]
            answers[id].append(probabilities[0])
    for id, frames in sent.items():
        np.testing.assert_allclose(np.stack(answers[id]), expected(weights, frames), atol=1e-4)
    with pytest.raises(Exception, match="no model 'other'"):
        client.infer("other", [given])
    wait_until_free(server)


def test_frames_without_a_sequence_are_one_of_their_own(server, weights):
    frames = noisy_frames(3, num_frames=NUM_FRAMES).numpy()
    for _ in range(2):  # the second knows nothing of the first
        status, answer = infer(server, inputs=frames_input(frames), outputs=[{"name": "probabilities"}])
        assert status == 200
        (output,) = answer["outputs"]
        assert output["shape"] == [NUM_FRAMES, len(LABELS)]
        found = np.array(output["data"]).reshape(output["shape"])
        np.testing.assert_allclose(found, expected(weights, frames), atol=1e-4)
    jpegs = pictures(4, 3)
    texts = [base64.b64encode(jpeg).decode() for jpeg in jpegs]
    given = {"name": "frames", "datatype": "BYTES", "shape": [3], "data": texts}
    status, answer = infer(server, inputs=[given])
    decoded = [decode_image(jpeg, "", max_pixels=10_000) for jpeg in jpegs]
    found = np.array(answer["outputs"][0]["data"]).reshape(3, -1)
    np.testing.assert_allclose(found, expected(weights, decoded), atol=1e-4)
    many = {"name": "frames", "datatype": "BYTES", "shape": [30], "data": [large_picture()] * 30}
    status, answer = infer(server, inputs=[many])
    assert (status, answer["error"]) == (400, "frames: more than 33,554,432 pixels in all; send fewer in a request")
    wait_until_free(server)


def large_picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (1600, 1200)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_sequence_that_is_not_there_is_an_error_and_no_empty_memory(server, weights):
    frames = noisy_frames(5, num_frames=2).numpy()

    def ask(t: int, **flags: Any) -> tuple[int, Any]:
        return infer(server, inputs=frames_input(frames[t : t + 1]), parameters={"sequence_id": 9, **flags})

    status, answer = ask(0)
    assert (status, answer["error"].split(":")[0]) == (400, "no sequence 9")
    assert ask(0, sequence_start=True)[0] == 200
    status, first = ask(0, sequence_start=True)  # begins again
    found = [np.array(answer["outputs"][0]["data"]) for answer in (first, ask(1)[1])]
    np.testing.assert_allclose(np.stack(found), expected(weights, frames), atol=1e-4)
    time.sleep(IDLE_SECONDS)
    wait_until_free(server)
    assert ask(1)[0] == 400


def test_sequences_take_slots_and_free_them(server):
    frame = frames_input(noisy_frames(6, num_frames=1).numpy())
    for id in range(1, CAPACITY + 1):
        assert infer(server, inputs=frame, parameters={"sequence_id": id, "sequence_start": True})[0] == 200
    assert infer(server, inputs=frame, parameters={"sequence_id": 99, "sequence_start": True})[0] == 503
    assert infer(server, inputs=frame)[0] == 503
    for id in range(1, CAPACITY + 1):
        assert infer(server, inputs=frame, parameters={"sequence_id": id, "sequence_end": True})[0] == 200
    wait_until_free(server)
    assert infer(server, inputs=frame)[0] == 200


def test_starts_of_one_sequence_at_the_same_time(server):
    frame = frames_input(noisy_frames(7, num_frames=1).numpy())

    def begin(_: int) -> int:
        return infer(server, inputs=frame, parameters={"sequence_id": 5, "sequence_start": True})[0]

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(begin, range(40)))
    assert 200 in statuses
    assert set(statuses) <= {200, 400, 503}  # ended by another start, or no slot was free
    infer(server, inputs=frame, parameters={"sequence_id": 5, "sequence_end": True})
    wait_until_free(server)
    assert begin(0) == 200
    assert infer(server, inputs=frame, parameters={"sequence_id": 5, "sequence_end": True})[0] == 200


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"inputs": []}, "expected one input, 'frames'"),
        ({"shape": [1, 1, 1]}, "expected the shape frames x height x width x 3"),
        ({"shape": [2, 1, 1, 3]}, "3 values for the shape [2, 1, 1, 3]"),
        ({"shape": [0, 1, 1, 3]}, "its shape must be a list of numbers above 0"),
        ({"shape": [1, 99_999, 99_999, 3]}, "99999x99999 pixels"),
        ({"shape": [999, 1, 1, 3]}, "999 frames; send at most 256"),
        ({"data": [1, 2, 256]}, "values of UINT8 are 0 to 255"),
        ({"data": ["x"]}, "its data are no numbers"),
        ({"data": [[1], [2, 3]]}, "its data are no numbers"),
        ({"datatype": "FP32"}, "expected the datatype UINT8"),
        ({"datatype": "\ud800"}, "expected the datatype UINT8"),
        ({"sequence_id": "\ud800"}, "no sequence"),
        ({"datatype": "BYTES", "shape": [1], "data": ["%"]}, "a picture is no base64"),
        ({"datatype": "BYTES", "shape": [1], "data": ["AAAA"]}, "frame 0: a broken image"),
        ({"parameters": {"binary_data_size": 5}}, "0 bytes of binary data came"),
        ({"outputs": [{"name": "boxes"}]}, "no output 'boxes'"),
        ({"sequence_id": 1.5}, "sequence_id must be a number or a text"),
        ({"sequence_start": "yes"}, "sequence_start must be true or false"),
    ],
)
def test_requests_that_cannot_be_understood(server, change, error):
    tensor = {"name": "frames", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
    content: dict[str, Any] = {"inputs": [tensor], "parameters": {}}
    for key, value in change.items():
        place = content if key in ("inputs", "outputs") else content["parameters"] if "sequence" in key else tensor
        place[key] = value
    status, answer = infer(server, **content)
    assert status == 400
    assert error in answer["error"]


def test_binary_data_that_do_not_fit(server):
    name = server.ask("/v1/model")[1]["model"]
    path = f"/v2/models/{name}/infer"
    for length in ("-1", "9999", "x", "\xb2", "9" * 5000):
        status, answer = server.ask(path, b"{}", **{"Inference-Header-Content-Length": length})
        assert status == 400
        assert "inference-header-content-length" in answer["error"]
    parameters = {"binary_data_size": 8}
    tensor = {"name": "frames", "datatype": "BYTES", "shape": [1], "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    body = head + (1 << 31).to_bytes(4, "little") + b"1234"
    status, answer = server.ask(path, body, **{"Inference-Header-Content-Length": str(len(head))})
    assert (status, answer["error"]) == (400, "frames: the lengths of its pictures do not fit its binary data")
    assert server.ask(path, b"[" * 100_000)[0] == 400
    assert server.ask(path, b" " * (17 << 20))[0] == 413
