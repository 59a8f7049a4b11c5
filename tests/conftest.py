"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["small_recognizer_fixtures", "small_disk"]

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory) -> Iterator[None]:
    """What programs keep for the next time is not left with whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
