"""200 damaged videos and folders of frames: frames of the promised shape, or an error of LSN."""

from functools import partial

import pytest
from container_cases import NUM_CASES, make_case, read_in_every_way
from originals import CONTAINERS, container_bytes
from suite import check, part_name, parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def containers(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    return {name: container_bytes(name, folder) for name in CONTAINERS}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_originals_are_sound(name, containers, bounded, tmp_path):
    path = tmp_path / name
    path.write_bytes(containers[name])
    outcome = bounded.run(read_in_every_way, path)
    assert (outcome.kind, outcome.value) == ("ok", []), outcome.detail


@pytest.mark.parametrize("numbers", parts(NUM_CASES), ids=part_name)
def test_damaged_videos(numbers, containers, bounded, tmp_path):
    make = partial(make_case, containers=containers)
    check(numbers, folder=tmp_path, make=make, bounded=bounded, function=read_in_every_way)
