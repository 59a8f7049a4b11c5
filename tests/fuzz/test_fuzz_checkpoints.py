"""100 damaged and forged checkpoints: the weights of the whole run, or an error of LSN; never code that runs."""

from functools import partial
from pathlib import Path

import checkpoint_cases
import pytest
from bounded import Outcome
from checkpoint_cases import NUM_CASES, is_forged, make_case
from suite import check, part_name, parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def original(bounded, tmp_path_factory) -> tuple[Path, str]:
    """A folder with videos and with a run that was stopped, and the hash of its weights at the end."""
    folder = tmp_path_factory.mktemp("originals") / "run"
    outcome = bounded.run(checkpoint_cases.write_original, folder, seconds=120)
    assert outcome.kind == "ok", outcome
    return folder, outcome.value


def test_the_original_resumes_to_the_weights_of_the_whole_run(original, bounded, tmp_path):
    folder, weights = original
    run, _ = make_case(0, tmp_path, folder)
    (run / "checkpoint.pt").write_bytes((folder / "half/checkpoint.pt").read_bytes())
    outcome = bounded.run(checkpoint_cases.resume, run, folder)
    assert (outcome.kind, outcome.value) == ("ok", weights), outcome


@pytest.mark.parametrize("numbers", parts(NUM_CASES), ids=part_name)
def test_checkpoints(numbers, original, bounded, tmp_path):
    folder, weights = original

    def judge(number: int, outcome: Outcome) -> str | None:
        is_other = outcome.kind == "ok" and outcome.value != weights
        return "resumes to other weights" if is_other and not is_forged(number) else None

    function = partial(checkpoint_cases.resume, original=folder)
    check(
        numbers,
        folder=tmp_path,
        make=partial(make_case, original=folder),
        bounded=bounded,
        function=function,
        judge=judge,
    )
