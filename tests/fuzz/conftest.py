from collections.abc import Iterator

import pytest
from bounded import Bounded


@pytest.fixture(scope="session")
def bounded() -> Iterator[Bounded]:
    with Bounded() as server:
        yield server
