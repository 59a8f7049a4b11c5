"""Weights that tests serve."""

from pathlib import Path

import pytest
from small_recognizer import INPUT, LABELS, RATES, lively_model

from lsn.models.weights import save_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder, lively_model(), labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES)
    return folder
