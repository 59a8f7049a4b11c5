"""Which parts of which videos are trained on: stretches, drawn so that rare events and hard background are seen."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from lsn.data.timelines.table import TimelineEvent, TimelineVideo
from lsn.errors import ConfigError
from lsn.video.frame_sampler import SAME_TIME_SECONDS

SPLICE_MARGIN_SECONDS = (0.2, 1.0)
"""What is cut out around an event that is spliced into another video, on each side."""


@dataclass(frozen=True)
class TimedVideo:
    """A video whose length is known."""

    number: int
    """Of the video in its manifest."""
    video: TimelineVideo
    duration_seconds: float

    def num_ticks(self, fps: float) -> int:
        """Moments at an even rate, from its first frame on."""
        return math.ceil(self.duration_seconds * fps - SAME_TIME_SECONDS)


@dataclass(frozen=True)
class Piece:
    """Neighbouring ticks of one video."""

    number: int
    """Of the video in its manifest."""
    first: int
    """The first tick."""
    num_ticks: int


Stretch = tuple[Piece, ...]
"""Pieces that are shown one after the other, as if they were one video."""


@dataclass(frozen=True)
class StretchRules:
    """How stretches are drawn."""

    num_ticks: int
    """Length of each."""
    background_share: float = 0.3
    """Stretches that are drawn anywhere; the others show an event of a label that is drawn evenly."""
    splice_prob: float = 0.0
    """Stretches with a part that is cut into another video: an event, or, so that a cut does not give it away, none."""

    def __post_init__(self) -> None:
        for name, value in (("background_share", self.background_share), ("splice_prob", self.splice_prob)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value}; it must be between 0 and 1")


class StretchSource:
    """Draws stretches of some videos.

    Args:
        videos: what is drawn from, at least one.
        rules: how.
    """

    def __init__(self, videos: Sequence[TimedVideo], rules: StretchRules) -> None:
        self.rules, self.videos = rules, videos
        self._events: dict[str, list[tuple[TimedVideo, TimelineEvent]]] = {}
        for video in self.videos:
            for event in video.video.events:
                self._events.setdefault(event.label, []).append((video, event))

    def draw(self, rng: random.Random, fps: float, *, difficulty: Sequence[float] | None = None) -> Stretch:
        """One stretch of exactly `num_ticks`; the same for the same state of the generator.

        Args:
            rng: source of all randomness.
            fps: ticks a second.
            difficulty: how often background of each video is drawn beside that of others, for the same length.
        """
        if not self._events or rng.random() < self.rules.background_share:
            pieces = self._anywhere(rng, fps, self.rules.num_ticks, difficulty)
        else:
            pieces = self._around_event(rng, fps)
        if rng.random() < self.rules.splice_prob:
            pieces = self._spliced(rng, fps, pieces)
        while (missing := self.rules.num_ticks - sum(piece.num_ticks for piece in pieces)) > 0:
            pieces = (*pieces, *self._anywhere(rng, fps, missing, difficulty))
        return _shortened(pieces, self.rules.num_ticks)

    def _anywhere(self, rng: random.Random, fps: float, num_ticks: int, difficulty: Sequence[float] | None) -> Stretch:
        """A part of a video, each moment of all videos as likely, or by their difficulty."""
        weights = [
            video.duration_seconds * (1.0 if difficulty is None else difficulty[video.number]) for video in self.videos
        ]
        (video,) = rng.choices(self.videos, weights)
        total = video.num_ticks(fps)
        first = rng.randint(0, max(0, total - num_ticks))
        return (Piece(video.number, first, min(num_ticks, total)),)

    def _around_event(self, rng: random.Random, fps: float) -> Stretch:
        """A part of a video that shows an event, anywhere in it; each label is as likely."""
        video, event = self._event(rng)
        start, end = (round(seconds * fps) for seconds in (event.start_seconds, event.end_seconds))
        num_ticks = self.rules.num_ticks
        earliest, latest = end - num_ticks, start  # the whole event is in it, if it is not longer
        first = rng.randint(min(earliest, latest), max(earliest, latest))
        total = video.num_ticks(fps)
        first = max(0, min(first, total - num_ticks))
        return (Piece(video.number, first, min(num_ticks, total)),)

    def _event(self, rng: random.Random) -> tuple[TimedVideo, TimelineEvent]:
        return rng.choice(self._events[rng.choice(sorted(self._events))])

    def _spliced(self, rng: random.Random, fps: float, pieces: Stretch) -> Stretch:
        """The stretch with a part of another video in it, which holds an event every other time."""
        if self._events and rng.random() < 0.5:
            video, event = self._event(rng)
            before, after = (rng.uniform(*SPLICE_MARGIN_SECONDS) for _ in range(2))
            first = max(0, round((event.start_seconds - before) * fps))
            end = min(video.num_ticks(fps), round((event.end_seconds + after) * fps) + 1)
            part: Stretch = (Piece(video.number, min(first, end - 1), max(1, end - first)),)
        else:
            part = self._anywhere(rng, fps, rng.randint(1, max(1, self.rules.num_ticks // 2)), None)
        at = rng.randrange(pieces[0].num_ticks)
        first_piece = pieces[0]
        head = Piece(first_piece.number, first_piece.first, at)
        tail = Piece(first_piece.number, first_piece.first + at, first_piece.num_ticks - at)
        return tuple(piece for piece in (head, *part, tail, *pieces[1:]) if piece.num_ticks)


def _shortened(pieces: Stretch, num_ticks: int) -> Stretch:
    """The first so many ticks."""
    kept: list[Piece] = []
    for piece in pieces:
        left = num_ticks - sum(other.num_ticks for other in kept)
        if left > 0:
            kept.append(Piece(piece.number, piece.first, min(left, piece.num_ticks)))
    return tuple(kept)
