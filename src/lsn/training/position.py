"""Where a run stands: the progress that its checkpoint keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass
class Tally:
    """Sums over clips, or over the frames of streams, since the last line of metrics."""

    loss: float = 0.0
    correct: float = 0.0
    weight: float = 0.0
    """What the two above are to be divided by: the items, each as it counts."""
    items: float = 0.0
    unreadable: float = 0.0
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Adds another tally to this one."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Best:
    """The best validation so far."""

    score: float
    tie_break: float
    epoch: int


@dataclass
class Position:
    """Where a run stands."""

    epoch: int = 0
    """The epoch under way, from 0."""
    step_in_epoch: int = 0
    """Steps of it that are done."""
    step: int = 0
    """Updates of the weights since the start."""
    seconds: float = 0.0
    """Time spent so far."""
    best: Best | None = None
    tally: Tally = field(default_factory=Tally)
