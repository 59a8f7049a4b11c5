"""Scripts of benchmarks/ as modules."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def import_script():
    """Imports a script by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module
