"""The benchmark of the server runs, and finds answers that are wrong; its figures are in docs/benchmarks.md."""

import re

import numpy as np
import pytest

from lsn.streaming import StreamingPredictor

pytest.importorskip("fastapi")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def serving(import_script):
    return import_script("serving")


def test_load(serving, tmp_path, capsys):
    options = ["--clients", "2", "--seconds", "2", "--turns", "1", "--out", str(tmp_path / "load.png")]
    assert serving.main(["load", "starter:gestures", *options]) == 0
    assert re.search(r"2 clients: p50 \d+ ms, p95 \d+ ms, \d+ dropped; at most \d+ answers/s", capsys.readouterr().out)
    assert (tmp_path / "load.png").stat().st_size > 1000


def test_faults(serving, capsys):
    assert serving.main(["faults", "starter:gestures", "--clients", "2", "--kills", "1"]) == 0
    found = re.search(r"(\d+) frames sent, (\d+) answered, (\d+) reported as lost", capsys.readouterr().out)
    sent, answered, lost = map(int, found.groups())
    assert sent == answered + lost == 2 * 68


def test_a_wrong_answer_is_found(serving, capsys):
    predictor = StreamingPredictor("starter:gestures", capacity=1)
    client = serving.new_clients(1)[0]
    answers = serving.alone(client.pictures, range(5), predictor)
    client.answers = {seconds: (number, answer.tolist()) for number, (seconds, answer) in enumerate(answers.items())}
    serving.compare([client], predictor)
    assert "largest difference 0.0e+00" in capsys.readouterr().out
    last = max(client.answers)
    client.answers[last] = 4, np.roll(client.answers[last][1], 1).tolist()
    serving.compare([client], predictor)
    assert "largest difference 0.0e+00" not in capsys.readouterr().out
