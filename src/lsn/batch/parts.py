"""Long videos in parts: each is decoded for itself, and starts from the state of the one before, or warms up.

The scores of a part lie on disk until those of all are there. Shapes: T ticks, K classes.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsn.batch.ticks import Ticks
from lsn.errors import WeightsError
from lsn.streaming.engine import StreamEngine

MAX_PART_BYTES = 64 << 20
"""What the model sees of a part, which workers hold several times."""


@dataclass(frozen=True)
class Part:
    """Some ticks of a video."""

    number: int
    first: int
    """The first tick that is answered."""
    last: int
    """The tick after the last one."""
    num_warm_up: int
    """Ticks before the first that the model sees, from an empty memory, without being asked."""


def cut(num_ticks: int, ticks_per_part: int, *, num_warm_up: int | None) -> list[Part]:
    """Cuts a video into parts of almost equal length.

    Args:
        num_ticks: of the video.
        ticks_per_part: at most.
        num_warm_up: ticks before each part; None if parts continue from the state of the one before.
    """
    num_parts = max(1, -(-num_ticks // ticks_per_part))
    bounds = [number * num_ticks // num_parts for number in range(num_parts + 1)]
    return [
        Part(number, first, bounds[number + 1], min(first, num_warm_up or 0))
        for number, first in enumerate(bounds[:-1])
    ]


def answer(engine: StreamEngine, slot: int, ticks: Ticks, views_TCHW: np.ndarray) -> np.ndarray:
    """Scores at ticks, float32 TK; the state of the slot moves on.

    Raises:
        ModelError: they are not finite.
    """
    logits: list[np.ndarray] = []
    for t, is_reset in enumerate(ticks.is_reset_T.tolist()):
        if is_reset:
            engine.reset(slot)
        logits.append(engine.step({slot: views_TCHW[t]}).logits_of(slot))
    return np.stack(logits)


class PartFiles:
    """What is known of one video in parts: a folder with a file a part, each of which appears whole or not at all.

    Args:
        folder: of the video; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, number: int) -> bool:
        """Whether a part is answered."""
        return self._path(number).exists()

    def num_answered(self, num_parts: int) -> int:
        """How many of the parts are answered."""
        return sum(self.has(number) for number in range(num_parts))

    def save(self, number: int, engine: StreamEngine, slot: int, ticks: Ticks, logits_TK: np.ndarray) -> None:
        """Keeps the scores of a part, and the state after it."""
        engine.save(slot, self._path(number), {**vars(ticks), "logits_TK": logits_TK})

    def resume(self, number: int, engine: StreamEngine, slot: int) -> bool:
        """Puts the state after a part into a slot; False, and the part is to be answered again, if it is damaged."""
        return self._load(number, engine, slot) is not None

    def read(self, num_parts: int, engine: StreamEngine, slot: int) -> tuple[Ticks, np.ndarray] | None:
        """All ticks and scores; None, and a part is to be answered again, if that is damaged."""
        found: list[dict[str, np.ndarray]] = []
        for number in range(num_parts):
            arrays = self._load(number, engine, slot)
            if arrays is None:
                return None
            found.append(arrays)
        logits_TK = np.concatenate([arrays.pop("logits_TK") for arrays in found])
        return Ticks.joined(Ticks(**arrays) for arrays in found), logits_TK

    def fail(self) -> None:
        """Notes that a part cannot be read, so that none waits for it."""
        (self._folder / "failed").touch()

    @property
    def has_failed(self) -> bool:
        """Whether a part cannot be read."""
        return (self._folder / "failed").exists()

    def forget_failure(self) -> None:
        """Before the video is tried again."""
        (self._folder / "failed").unlink(missing_ok=True)

    def remove(self) -> None:
        """Deletes the folder, once no worker uses it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _load(self, number: int, engine: StreamEngine, slot: int) -> dict[str, np.ndarray] | None:
        try:
            return engine.load(slot, self._path(number))
        except WeightsError:
            with suppress(FileNotFoundError):
                self._path(number).unlink()
            return None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.safetensors"
