"""Scripts of benchmarks/ as modules."""

import importlib
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def import_script():
    """Imports a script by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module


@pytest.fixture(autouse=True)
def _as_many_threads_as_before():
    """Scripts choose how many threads PyTorch computes with, for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
