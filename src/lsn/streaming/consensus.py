"""From the scores of single frames to what a stream's answer is: a mean over frames, all or recent.

Shapes: K classes, T frames.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from lsn.errors import ConfigError, did_you_mean
from lsn.streaming.snapshot_arrays import kept_array


class Consensus(ABC):
    """A mean of the frames' logits, as the mean over a clip's frames is the answer for the clip."""

    @abstractmethod
    def update(self, logits_K: np.ndarray, seconds: float) -> np.ndarray:
        """Takes the scores of a frame and its time; returns the mean, float64 (K,)."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets every frame."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """All that it knows."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray], *, num_classes: int) -> None:
        """Takes over what `arrays` gave.

        Raises:
            WeightsError: these are not such arrays for K classes.
        """


class Decaying(Consensus):
    """A mean in which a frame's weight halves every `half_life_seconds`; with infinity, the mean of all frames."""

    _total_K: np.ndarray
    _weight: float
    _seconds: float

    def __init__(self, half_life_seconds: float) -> None:
        self.half_life_seconds = half_life_seconds
        self.reset()

    def update(self, logits_K: np.ndarray, seconds: float) -> np.ndarray:  # noqa: D102 - as in the base class
        decay = 0.5 ** (max(0.0, seconds - self._seconds) / self.half_life_seconds) if self._weight else 0.0
        self._total_K = decay * self._total_K + logits_K.astype(np.float64)
        self._weight = decay * self._weight + 1
        self._seconds = seconds
        return self._total_K / self._weight

    def reset(self) -> None:  # noqa: D102
        self._total_K = np.zeros((), dtype=np.float64)
        self._weight = self._seconds = 0.0

    def arrays(self) -> dict[str, np.ndarray]:  # noqa: D102
        return {"total": self._total_K, "weight": _double(self._weight), "seconds": _double(self._seconds)}

    def restore(self, arrays: Mapping[str, np.ndarray], *, num_classes: int) -> None:  # noqa: D102
        self._weight, self._seconds = (_number(arrays, name) for name in ("weight", "seconds"))
        shape = [num_classes] if self._weight else []  # before the first frame the classes are not known
        self._total_K = kept_array(arrays, "total", dtype=np.float64, shape=shape)


class Sliding(Consensus):
    """The mean of the frames of the last `window_seconds`."""

    def __init__(self, window_seconds: float) -> None:
        self.window_seconds = window_seconds
        self._frames: list[tuple[float, np.ndarray]] = []

    def update(self, logits_K: np.ndarray, seconds: float) -> np.ndarray:  # noqa: D102
        self._frames.append((seconds, logits_K.astype(np.float64)))
        # Half a nanosecond, so that what the rounding of times adds up to does not count as time.
        oldest = seconds - self.window_seconds + 5e-10
        self._frames = [frame for frame in self._frames if oldest < frame[0] <= seconds]
        return np.stack([logits for _, logits in self._frames]).mean(axis=0)

    def reset(self) -> None:  # noqa: D102
        self._frames = []

    def arrays(self) -> dict[str, np.ndarray]:  # noqa: D102
        logits = [logits for _, logits in self._frames]
        seconds_T = np.array([seconds for seconds, _ in self._frames], dtype=np.float64)
        return {"seconds": seconds_T, "logits": np.stack(logits) if logits else np.zeros(0, dtype=np.float32)}

    def restore(self, arrays: Mapping[str, np.ndarray], *, num_classes: int) -> None:  # noqa: D102
        seconds = kept_array(arrays, "seconds", dtype=np.float64, shape=[None]).tolist()
        shape = [len(seconds), num_classes]
        logits = kept_array(arrays, "logits", dtype=np.float64, shape=shape) if seconds else ()
        self._frames = list(zip(seconds, logits, strict=True))


def make_consensus(text: str) -> Consensus:
    """The consensus that a text names: `cumulative`, `exponential:HALF_LIFE` or `sliding:WINDOW`, in seconds.

    cumulative is the mean of all frames since the start.

    Raises:
        ConfigError: another name, or seconds that are not above 0.
    """
    name, _, seconds_text = text.partition(":")
    if name == "cumulative" and not seconds_text:
        return Decaying(math.inf)
    makers = {"exponential": Decaying, "sliding": Sliding}
    if name not in makers:
        raise ConfigError(f"consensus {text!r}; {did_you_mean(name, ('cumulative', *makers))}")
    try:
        seconds = float(seconds_text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"consensus {text!r}: give its seconds, above 0, as in {name}:2.5")
    return makers[name](seconds)


def _number(arrays: Mapping[str, np.ndarray], name: str) -> float:
    return kept_array(arrays, name, dtype=np.float64, shape=[]).item()


def _double(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float64)
