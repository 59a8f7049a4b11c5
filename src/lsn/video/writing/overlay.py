"""The panel on an annotated video: bars of the likeliest labels, and the time.

All sizes are in pixels and follow from the pictures' short side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lsn.video.frame_sampler import SAME_TIME_SECONDS
from lsn.video.writing.font import dejavu_sans

SMALLEST_SIDE = 240
"""Smaller videos are enlarged by a whole factor until their short side has this many pixels, for legible text."""

# Red, green, blue, opacity.
_PANEL = (12, 16, 24, 200)
_TRACK = (255, 255, 255, 28)
_BEST_BAR = (32, 112, 226, 240)
_OTHER_BAR = (120, 136, 160, 150)
_TEXT = (255, 255, 255, 255)
_FAINT_TEXT = (206, 213, 224, 255)
_AHEAD = (112, 122, 140, 255)

_SMALLEST_FONT = 11
_FONTS_IN_SHORT_SIDE = 30
_FONTS_IN_PANEL_WIDTH = 26
_LARGEST_SHARE_OF_HEIGHT = 0.42
"""Five bars may take this much; where they would take more, there are three."""


@dataclass(frozen=True, eq=False)
class Track:
    """Answers over time."""

    labels: tuple[str, ...]
    """Names of the K classes in label order."""
    probabilities_TK: np.ndarray
    """float32: what is said from each moment on."""
    seconds_T: np.ndarray
    """float64: the moments, in order."""


class Panel:
    """The bars of the likeliest labels, above a row for the time, in the lower left corner of pictures of one size.

    Args:
        labels: names of the K classes in label order.
        width: of the pictures.
        height: of the pictures.
    """

    def __init__(self, labels: Sequence[str], *, width: int, height: int) -> None:
        self._labels = [printable(label) for label in labels]
        self._font_size = max(_SMALLEST_FONT, round(min(width, height) / _FONTS_IN_SHORT_SIDE))
        self._gap = max(2, self._font_size // 4)
        self._bar_height = round(1.2 * self._font_size) + self._gap
        margin = 2 * self._gap
        num_bars = min(5, len(self._labels))
        if self._height(num_bars) > _LARGEST_SHARE_OF_HEIGHT * height:
            num_bars = min(3, num_bars)
        self._num_bars = num_bars
        self._size = min(width - 2 * margin, _FONTS_IN_PANEL_WIDTH * self._font_size), self._height(num_bars)
        self._corner = margin, height - margin - self._size[1]

    def draw(self, picture: Image.Image, probabilities_K: np.ndarray, time_text: str) -> None:
        """Draws the bars and a text for the time onto an RGB picture, in place."""
        panel = self._bars(probabilities_K)
        place = 3 * self._gap, self._middle_of_row(self._num_bars)
        ImageDraw.Draw(panel).text(place, time_text, _FAINT_TEXT, dejavu_sans(self._font_size), anchor="lm")
        picture.paste(panel, self._corner, panel)

    def _bars(self, probabilities_K: np.ndarray | None) -> Image.Image:
        """The bars, and an empty place for the time; without probabilities, a panel that says so."""
        panel = Image.new("RGBA", self._size, _PANEL)
        if probabilities_K is None:
            place, font = (2 * self._gap, self._middle_of_row(0)), dejavu_sans(self._font_size)
            ImageDraw.Draw(panel).text(place, "no frame seen yet", _FAINT_TEXT, font, anchor="lm")
            return panel
        ranked = np.argsort(-probabilities_K, kind="stable")[: self._num_bars]
        for row, index in enumerate(ranked.tolist()):
            self._draw_bar(panel, row, self._labels[index], float(probabilities_K[index]))
        return panel

    def _height(self, num_bars: int) -> int:
        """Of a panel: bars and the row of the time, with a gap after each, and a wider border."""
        return (num_bars + 1) * (self._bar_height + self._gap) + 3 * self._gap

    def _middle_of_row(self, row: int) -> int:
        return 2 * self._gap + row * (self._bar_height + self._gap) + self._bar_height // 2

    def _draw_bar(self, panel: Image.Image, row: int, label: str, probability: float) -> None:
        is_best = row == 0
        left, right = 2 * self._gap, self._size[0] - 2 * self._gap
        middle = self._middle_of_row(row)
        top, bottom = middle - self._bar_height // 2, middle + self._bar_height // 2
        filled = left + round(probability * (right - left))
        _blend(panel, (left, top, right, bottom), _TRACK)
        _blend(panel, (left, top, filled, bottom), _BEST_BAR if is_best else _OTHER_BAR)

        draw, font = ImageDraw.Draw(panel), dejavu_sans(self._font_size, bold=is_best)
        color = _TEXT if is_best else _FAINT_TEXT
        percent = f"{100 * probability:.0f}%"
        draw.text((right - self._gap, middle), percent, color, font, anchor="rm")
        room = right - left - 4 * self._gap - font.getlength("100%")
        draw.text((left + self._gap, middle), shorten(label, font, room), color, font, anchor="lm")


class Overlay(Panel):
    """Draws a track on the pictures of one video, above a time line.

    Args:
        track: what is drawn.
        width: of the pictures.
        height: of the pictures.
        start_seconds: time of the first picture.
        duration_seconds: of the video.
    """

    def __init__(self, track: Track, *, width: int, height: int, start_seconds: float, duration_seconds: float) -> None:
        super().__init__(track.labels, width=width, height=height)
        self._track = track
        self._start_seconds, self._duration_seconds = start_seconds, duration_seconds
        self._drawn: tuple[int, Image.Image] | None = None  # bars change only where the track does

    def draw_at(self, picture: Image.Image, *, clock_seconds: float, pts_seconds: float) -> None:
        """Draws onto an RGB picture, in place.

        Args:
            picture: of the size that the overlay was made for.
            clock_seconds: where the time line stands.
            pts_seconds: time of the picture; what the track says then is shown.
        """
        num_seen = int(np.searchsorted(self._track.seconds_T, pts_seconds + SAME_TIME_SECONDS, side="right"))
        if self._drawn is None or self._drawn[0] != num_seen:
            self._drawn = num_seen, self._bars(self._track.probabilities_TK[num_seen - 1] if num_seen else None)
        panel = self._drawn[1].copy()
        self._draw_clock(panel, clock_seconds, num_seen)
        picture.paste(panel, self._corner, panel)

    def _draw_clock(self, panel: Image.Image, clock_seconds: float, num_seen: int) -> None:
        """The time line, with a mark for each moment if there is room, the cursor, and the time in figures."""
        draw, font = ImageDraw.Draw(panel), dejavu_sans(self._font_size)
        middle, right = self._middle_of_row(self._num_bars), self._size[0] - 2 * self._gap
        text = f"{clock_seconds - self._start_seconds:.1f} / {self._duration_seconds:.1f} s"
        widest = f"{self._duration_seconds:.1f} / {self._duration_seconds:.1f} s"
        draw.text((right - self._gap, middle), text, _FAINT_TEXT, font, anchor="rm")

        left, end = 3 * self._gap, right - round(font.getlength(widest)) - 4 * self._gap
        cursor = self._place(clock_seconds, left, end)
        half = max(1, self._gap // 4)
        draw.rectangle((left, middle - half, end, middle + half), _AHEAD)
        draw.rectangle((left, middle - half, cursor, middle + half), _TEXT)
        moments = self._track.seconds_T.tolist()
        for number, seconds in enumerate(moments if len(moments) * 4 * half <= end - left else []):
            x = self._place(seconds, left, end)
            color = _TEXT if number < num_seen else _AHEAD
            draw.rectangle((x, middle - self._gap, x + half - 1, middle + self._gap), color)
        knob = round(0.9 * self._gap) + 1
        draw.ellipse((cursor - knob, middle - knob, cursor + knob, middle + knob), _TEXT, outline=_BEST_BAR, width=half)

    def _place(self, seconds: float, left: int, right: int) -> int:
        """Where a time lies on the time line."""
        share = (seconds - self._start_seconds) / self._duration_seconds if self._duration_seconds > 0 else 0.0
        return left + round(min(max(share, 0.0), 1.0) * (right - left))


def printable(text: str) -> str:
    """The text in one line, without the characters that fonts have no picture for and text layout fails on."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def shorten(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """The text, cut and ended with an ellipsis if it is wider than `room` pixels."""
    if font.getlength(text) <= room:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1) if font.getlength(text[:n].rstrip() + "…") <= room), 0)
    return text[:kept].rstrip() + "…"


def _blend(panel: Image.Image, box: tuple[int, int, int, int], color: tuple[int, int, int, int]) -> None:
    """Lays a translucent rectangle over a part of the panel; right and bottom are not included."""
    if box[2] > box[0]:
        panel.alpha_composite(Image.new("RGBA", (box[2] - box[0], box[3] - box[1]), color), box[:2])


def enlargement(width: int, height: int) -> int:
    """The factor that pictures of this size are enlarged by before text is drawn on them."""
    return -(-SMALLEST_SIDE // min(width, height))
