"""Training: `train` runs an experiment and leaves a folder with its weights, metrics and evaluation."""

from lsn.training.loop import TrainingResult, train
from lsn.training.tracking import Progress, StepReport

__all__ = ["Progress", "StepReport", "TrainingResult", "train"]
