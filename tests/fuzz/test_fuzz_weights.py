"""100 weights folders that nobody should trust: a model that works, or an error of LSN; never the network."""

from functools import partial
from pathlib import Path

import pytest
import weights_cases
from suite import check, part_name, parts
from weights_cases import NUM_CASES, load_and_run, make_case

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def original(bounded, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals") / "weights"
    outcome = bounded.run(weights_cases.write_original, folder)
    assert outcome.kind == "ok", outcome
    return folder


def test_the_original_is_sound(original, bounded):
    outcome = bounded.run(load_and_run, original)
    assert outcome.kind == "ok", outcome


def test_the_network_is_seen(bounded):
    first, second = bounded.run(_ask).value
    assert "192.0.2.1" in first and "example.com" in second


@pytest.mark.parametrize("numbers", parts(NUM_CASES), ids=part_name)
def test_weights_folders(numbers, original, bounded, tmp_path):
    check(numbers, folder=tmp_path, make=partial(make_case, original=original), bounded=bounded, function=load_and_run)


def _ask() -> list[str]:
    import socket
    from contextlib import suppress
    from http.client import HTTPConnection

    asked = weights_cases.refuse_network()
    with suppress(OSError), socket.socket() as out:
        out.connect(("192.0.2.1", 80))
    with suppress(OSError):
        HTTPConnection("example.com").connect()
    return asked
