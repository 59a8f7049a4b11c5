"""The settings of a run, with their defaults and what they mean, and the recipes that change them; without torch."""

from lsn.config.events import EventRules
from lsn.config.frame_rates import FrameRates
from lsn.config.loading import from_mapping, load_config, to_mapping, to_yaml
from lsn.config.settings import (
    MAX_FRAMES,
    MAX_SIDE,
    DataConfig,
    EvaluationConfig,
    InputConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainingConfig,
)
from lsn.config.timelines import TimelineConfig

__all__ = [
    "MAX_FRAMES",
    "MAX_SIDE",
    "DataConfig",
    "EvaluationConfig",
    "EventRules",
    "FrameRates",
    "InputConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "TimelineConfig",
    "TrainingConfig",
    "from_mapping",
    "load_config",
    "to_mapping",
    "to_yaml",
]
