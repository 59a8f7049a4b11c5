import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lsn.cli import main


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def one_error_line(self) -> str:
        """The error, having made sure that there is nothing else."""
        assert self.code == 2
        assert self.out == ""
        assert self.err.startswith("lsn: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1
        return self.err


@pytest.fixture(autouse=True)
def _no_terminal_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of pytest-xdist say that a terminal of 80 columns is there."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def lsn(capsys) -> Callable[..., Answer]:
    """Runs a command in this process."""

    def run(*arguments: object) -> Answer:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """A synthetic set of ten classes: 20 videos to train on, 10 to validate on, 32 pixels high."""
    from lsn.data.synthetic import write_synthetic

    folder = tmp_path_factory.mktemp("cli") / "motion"
    return write_synthetic(folder, kind="motion", num_train=20, num_val=10, size=32, num_frames=8)


@pytest.fixture(scope="session")
def clip(videos) -> Path:
    """One of the videos."""
    return videos.val.parent / videos.val.read_text(encoding="utf-8").splitlines()[1].split(",")[0]


@pytest.fixture(scope="session")
def weights(videos, tmp_path_factory) -> Path:
    """A weights folder of an untrained model for the synthetic set."""
    from lsn import create_model
    from lsn.config import InputConfig
    from lsn.models.weights import save_weights

    folder = tmp_path_factory.mktemp("cli") / "weights"
    model = create_model("lsn_resnet10t", num_classes=len(videos.labels), num_frames=2)
    save_weights(folder, model, labels=videos.labels, input=InputConfig(size=32, short_side=32), metrics={})
    return folder


@pytest.fixture(scope="session")
def streaming(videos, tmp_path_factory):
    """Weights that know their rate: 8 frames per second, half of that of the videos."""
    folder = tmp_path_factory.mktemp("cli") / "streaming"
    from lsn import create_model
    from lsn.config import FrameRates, InputConfig
    from lsn.models.weights import save_weights

    model = create_model("lsn_test_resnet", num_classes=len(videos.labels), num_frames=4)
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.weight.data.fill_(0.7)
    rates = FrameRates(8, 8, 8)
    input = InputConfig(size=32, short_side=32)
    save_weights(folder, model, labels=videos.labels, input=input, metrics={}, frame_rates=rates)
    return folder


@pytest.fixture(scope="session")
def tiny_run(videos) -> tuple[str, ...]:
    """Overrides that turn any recipe into a training of seconds on the synthetic set."""
    settings = {
        "model.name": "lsn_test_resnet",
        "model.num_frames": 2,
        "data.train": str(videos.train),
        "data.val": str(videos.val),
        "data.num_workers": 0,
        "input.size": 32,
        "input.short_side": 32,
        "optim.warmup_epochs": 0.0,
        "training.epochs": 1,
        "training.min_steps_per_epoch": 1,
        "training.batch_size": 10,
        "training.device": "cpu",
    }
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())
