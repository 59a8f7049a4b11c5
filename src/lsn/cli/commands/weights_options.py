"""What commands read of a weights folder; how they look at a video: as the run did, unless options say otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from lsn.config import EvaluationConfig, RunConfig, load_config

Average = Literal["logits", "probabilities"]
Crops = Literal[1, 3]


def run_config(weights: Path) -> RunConfig | None:
    """The recipe that a weights folder was trained with; None if only the weights were copied."""
    path = weights / "recipe.yaml"
    return load_config(path) if path.is_file() else None


def weights_files(weights: Path) -> list[Path]:
    """The files of a weights folder that commands read, whether they are there or not."""
    return [weights / name for name in ("config.json", "model.safetensors", "recipe.yaml", "evaluation.json")]


def chosen_views(
    config: RunConfig | None, *, clips: int | None, crops: Crops | None, average: Average | None
) -> EvaluationConfig:
    """The views of the run, with what was asked for instead.

    Raises:
        ConfigError: a number is out of range.
    """
    views = EvaluationConfig() if config is None else config.evaluation
    return replace(
        views,
        num_clips=views.num_clips if clips is None else clips,
        num_crops=crops or views.num_crops,
        average=average or views.average,
    )
