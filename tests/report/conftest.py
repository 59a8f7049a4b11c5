import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lsn.config import DataConfig, InputConfig, ModelConfig, RunConfig, TrainingConfig, to_yaml
from lsn.evaluation.result import EvaluationResult

RunMaker = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> RunMaker:
    """Writes the files of a run folder, as training does, without weights and videos."""

    def make(result: EvaluationResult, *, lines: Sequence[dict[str, Any]] = ()) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        config = RunConfig(
            model=ModelConfig(name="lsn_resnet10t", num_frames=4, pretrained=False),
            data=DataConfig(train="train.csv", val="val.csv"),
            input=InputConfig(size=32, short_side=32),
            training=TrainingConfig(epochs=2),
        )
        (folder / "recipe.yaml").write_text(to_yaml(config))
        train = [
            {"kind": "train", "epoch": step / 10, "step": step, "loss": 2 - step / 20, "top1": step / 20}
            | {"learning_rate": 0.01, "clips_per_second": 9.0}
            for step in range(1, 21)
        ]
        val = [
            {"kind": "val", "epoch": epoch, "step": 10 * epoch, "loss": 1.5, "top1": 0.5 * epoch} for epoch in (1, 2)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*train, *val, *lines)))
        result.save(folder)
        return folder

    return make
