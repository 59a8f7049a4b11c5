"""What all tests share."""

import logging
import threading
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["small_recognizer_fixtures", "small_disk"]

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory) -> Iterator[None]:
    """What programs keep for the next time is not left with whoever runs the tests; all run at the same priority."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RAY_worker_niceness", "0")  # else other tests starve its processes
        yield


@pytest.fixture(autouse=True)
def _warnings_are_logged() -> None:
    """Some libraries change what loggers let through, or switch them off, for all that runs after them."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    logging.root.filters.clear()
    for logger in _loggers():
        logger.disabled, logger.propagate = False, True
        logger.filters.clear()
        logger.setLevel(logging.NOTSET)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows with a failed test of what is logged whatever could have kept it from being logged."""
    report = yield
    if report.failed and "caplog" in getattr(item, "fixturenames", ()):
        states = [
            {name: value for name, value in vars(logger).items() if name not in ("parent", "manager")}
            for logger in (logging.root, *_loggers())
        ]
        threads = [thread.name for thread in threading.enumerate()]
        report.sections.append(("loggers", f"disabled up to {logging.root.manager.disable}; {threads=}; {states=}"))
    return report


def _loggers() -> list[logging.Logger]:
    every = logging.root.manager.loggerDict.items()
    return [each for name, each in every if name.startswith("lsn") and isinstance(each, logging.Logger)]
