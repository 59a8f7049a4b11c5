"""When the probabilities of a stream are an event."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lsn.errors import ConfigError


@dataclass(frozen=True)
class EventRules:
    """When probabilities are an event: all that is not background, or without a background the likeliest class."""

    on_threshold: float = 0.6
    """What goes on is an event once its probability has been at least this ..."""
    off_threshold: float = 0.4
    """... and lasts as long as the probability is at least this."""
    min_seconds: float = 0.25
    """Shorter ones are left out."""
    merge_seconds: float = 0.0
    """Ends with the off threshold only if it stays below for so long; the event then ended when it fell."""
    memory_seconds: float = 1.0
    """Half-life of what counts for the class: of what was seen so long ago, half."""
    split_seconds: float = 1.0
    """A class that led for so long is an event of its own when another one takes over; before, it was a mistake."""
    background: str | None = None
    """Label of the class that stands for nothing, which is never an event."""
    multi_label: bool = False
    """Events of different labels may overlap: each label has a yes or no of its own."""

    @property
    def of_long_videos(self) -> bool:
        """Whether they are of a model that has learned events: it can say that nothing happens."""
        return self.background is not None or self.multi_label

    def __post_init__(self) -> None:
        if not 0 < self.off_threshold <= self.on_threshold <= 1:
            raise ConfigError(
                f"events start at {self.on_threshold} and end at {self.off_threshold}; "
                "needed: 0 < off_threshold <= on_threshold <= 1"
            )
        for name in ("min_seconds", "merge_seconds", "split_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} of events is {getattr(self, name)}; it must be 0 or more")
        if self.multi_label and self.background is not None:
            raise ConfigError(f"background {self.background!r} of events that may overlap; it must be None")
        if not 0 < self.memory_seconds < math.inf:
            raise ConfigError(f"memory_seconds of events is {self.memory_seconds}; it must be above 0")
