"""What commands read of a weights folder; how they look at a video: as the run did, unless options say otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lsn.config import EvaluationConfig, RunConfig, load_config
from lsn.config.json_files import CONFIG_NAME, EVALUATION_NAME, RECIPE_NAME, TENSORS_NAME
from lsn.errors import ConfigError
from lsn.hub import hub_folder, is_hub_name


def run_config(weights: Path) -> RunConfig | None:
    """The recipe that a weights folder was trained with; None if only the weights were copied."""
    path = _described(weights) / RECIPE_NAME
    return load_config(path) if path.is_file() else None


def run_views(weights: Path) -> EvaluationConfig:
    """The views of a video that weights, or those of an export, were validated with."""
    from lsn.inference.runtimes.description import DESCRIPTION_NAME, read_description

    if (weights / DESCRIPTION_NAME).is_file():
        return read_description(weights).evaluation
    config = run_config(weights)
    return EvaluationConfig() if config is None else config.evaluation


def weights_files(weights: Path) -> list[Path]:
    """The files of a weights folder that commands read, whether they are there or not."""
    folder = _described(weights)
    return [folder / name for name in (CONFIG_NAME, TENSORS_NAME, RECIPE_NAME, EVALUATION_NAME)]


def _described(weights: Path) -> Path:
    """The folder that says what weights are; of the Hub, it need not hold the weights themselves."""
    return hub_folder(weights, [CONFIG_NAME], optional=[RECIPE_NAME]) if is_hub_name(weights) else weights


def refuse_weights_folder(out: Path) -> None:
    """Refuses a folder of weights to write an evaluation into, since it holds their own.

    Raises:
        ConfigError: it is one.
    """
    if any((out / name).exists() for name in (CONFIG_NAME, TENSORS_NAME, "checkpoint.pt")):
        raise ConfigError(
            f"{out}: holds weights and their own validation, which this evaluation would replace; choose another --out"
        )


@dataclass(frozen=True)
class ViewOptions:
    """How a video is looked at."""

    clips: int | None = None
    """Clips per video; by default as the run validated."""
    crops: Literal[1, 3] | None = None
    """Crops a clip, 1 or 3; by default as the run validated."""
    average: Literal["logits", "probabilities"] | None = None
    """What is averaged over the views; by default as the run validated."""

    def of(self, views: EvaluationConfig) -> EvaluationConfig:
        """The views, with what was asked for instead.

        Raises:
            ConfigError: a number is out of range.
        """
        return replace(
            views,
            num_clips=views.num_clips if self.clips is None else self.clips,
            num_crops=self.crops or views.num_crops,
            average=self.average or views.average,
        )
