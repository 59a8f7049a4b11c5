"""100 damaged and forged states of streams: the answers of the stream that was not stopped, or an error of LSN."""

import math
from functools import partial
from pathlib import Path

import pytest
import state_cases
from bounded import Outcome
from state_cases import NUM_CASES, go_on, is_forged, make_case
from suite import check, part_name, parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def original(bounded, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals") / "stream"
    outcome = bounded.run(state_cases.write_original, folder)
    assert outcome.kind == "ok", outcome
    bounded.server.prepare(state_cases.predictor, folder)
    return folder


@pytest.fixture(scope="session")
def answers(original, bounded) -> list:
    return bounded.run(go_on, original / "state.safetensors", original).value


def test_the_original_goes_on(answers):
    *said, seconds = answers
    assert [answer["num_frames"] for answer in said] == [7, 8, 9, 10]
    assert [answer["reset"] for answer in said] == [None] * 4
    assert seconds == 3 + 9 / 8


@pytest.mark.parametrize("numbers", parts(NUM_CASES), ids=part_name)
def test_states(numbers, original, answers, bounded, tmp_path):
    def judge(number: int, outcome: Outcome) -> str | None:
        if outcome.kind == "refused" or outcome.value == answers:
            return None
        if not is_forged(number):
            return "goes on otherwise"
        probabilities = [answer["probabilities"] for answer in outcome.value[:-1]]
        is_sane = all(len(each) == 3 and math.isclose(sum(each), 1, abs_tol=1e-4) for each in probabilities)
        return None if probabilities and is_sane else f"continues at {probabilities}"

    check(
        numbers,
        folder=tmp_path,
        make=partial(make_case, original=original),
        bounded=bounded,
        function=partial(go_on, weights=original),
        judge=judge,
    )
