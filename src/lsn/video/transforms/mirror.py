"""Which class a clip belongs to after it has been mirrored left to right.

A mirrored "Pushing something from left to right" shows "Pushing something from right to left"; a mirrored
gesture whose class names a side but has no counterpart in the label set would be mislabelled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_OPPOSITES = (
    ("left", "right"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("leftmost", "rightmost"),
    ("lefthand", "righthand"),
    ("lefthanded", "righthanded"),
    ("clockwise", "counterclockwise"),
    ("cw", "ccw"),
)
_MIRROR = {word: other for pair in _OPPOSITES for word, other in (pair, pair[::-1])}

# Between words of any spelling: "swipe left", "swipe_left", "swipeLeft", "SWIPELeft", "left2".
_BETWEEN_WORDS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\D)(?=\d)|(?<=\d)(?=\D)")


def mirror_labels(labels: Sequence[str]) -> list[int | None]:
    """For each class, which class its clips show after a horizontal flip.

    Sides are whole words (left, right, leftwards, left-hand, clockwise, anticlockwise, ...) in any case and in
    spaced, snake_case or camelCase names; "upright" or "leftover" name none. The mirror name must occur in
    the label set exactly once, so the answer is its own inverse.

    Returns:
        One entry a class: its own index if the name names no side, the index of the mirror class if there is
        one, else None: such clips must never be flipped.
    """
    names = [_words(label) for label in labels]
    counts = Counter(names)
    indices = {name: index for index, name in enumerate(names)}

    def mirror(index: int, name: tuple[str, ...]) -> int | None:
        if not any(word in _MIRROR for word in name):
            return index
        other = tuple(_MIRROR.get(word, word) for word in name)
        return indices[other] if counts[name] == counts[other] == 1 else None

    return [mirror(index, name) for index, name in enumerate(names)]


def _words(label: str) -> tuple[str, ...]:
    """The words of a label in lower case, with every spelling of counterclockwise made one."""
    text = " ".join(word.lower() for word in _BETWEEN_WORDS.split(label) if word)
    return tuple(re.sub(r"\b(counter|anti) ?clockwise\b", "counterclockwise", text).split())
