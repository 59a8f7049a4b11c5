"""How fast the frames of a model's training clips followed each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lsn.errors import WeightsError


@dataclass(frozen=True)
class FrameRates:
    """How fast a model's frames followed each other in its training clips, in frames per second."""

    low: float
    """5th percentile over the clips."""
    median: float
    """50th percentile."""
    high: float
    """95th percentile."""

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.median <= self.high < math.inf:
            raise WeightsError(
                f"frame rates of {self.low}, {self.median} and {self.high}; they must be finite, above 0 and in order"
            )
