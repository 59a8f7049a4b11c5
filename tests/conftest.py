"""What all tests share."""

import logging
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


@pytest.fixture(autouse=True)
def _warnings_are_logged() -> None:
    """Some libraries change what loggers let through, or switch them off, for all that runs after them."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "lsn" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
