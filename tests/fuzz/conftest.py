from collections.abc import Iterator

import pytest
from bounded import Bounded


@pytest.fixture(scope="session")
def bounded() -> Iterator[Bounded]:
    yield Bounded()  # it ends with this process: closing it after OpenVINO has run here took the process along
