"""HTML and SVG as nested function calls; whatever is not markup already is escaped on the way in."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any


class Markup(str):
    """Text that is markup already and is not escaped again."""


Content = str | int | float | None | Iterable["Content"]
_VOID = {"img", "br", "meta", "link", "input"}


def tag(name: str, *content: Content, **attributes: Any) -> Markup:
    """One element.

    Args:
        name: of the element.
        content: children; plain text is escaped, None is left out, iterables are joined.
        attributes: a trailing underscore is dropped (`class_`), others become hyphens (`text_anchor`); None
            and False leave the attribute out.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{html.escape(_text(value), quote=True)}"')
    opening = Markup(f"<{' '.join(parts)}>")
    return opening if name in _VOID else Markup(f"{opening}{join(content)}</{name}>")


def join(content: Content) -> Markup:
    """Markup of the pieces one after the other; plain text among them is escaped."""
    if content is None:
        return Markup()
    if isinstance(content, Markup):
        return content
    if isinstance(content, str | int | float):
        return Markup(html.escape(_text(content), quote=False))
    return Markup("".join(join(piece) for piece in content))


def table(
    header: Iterable[Content], rows: Iterable[Iterable[Content]], *, numeric: Iterable[int] = (), class_: str = ""
) -> Markup:
    """A table that scrolls by itself where it is too wide; `numeric` columns are set flush right."""
    right = set(numeric)

    def line(cell: str, cells: Iterable[Content]) -> Markup:
        return tag("tr", (tag(cell, c, class_="number" if i in right else None) for i, c in enumerate(cells)))

    head, body = tag("thead", line("th", header)), tag("tbody", (line("td", row) for row in rows))
    return tag("div", tag("table", head, body, class_=class_ or None), class_="scroll")


def figure(*content: Content, caption: Content, legend: Iterable[tuple[str, str]] = (), title: str = "") -> Markup:
    """A figure under its title and legend (colour class, name) and above a caption that says what to see."""
    keys = [tag("span", tag("i", class_=f"key {color}"), name) for color, name in legend]
    return tag(
        "figure",
        tag("h3", title) if title else None,
        tag("p", keys, class_="legend") if keys else None,
        content,
        tag("figcaption", caption),
    )


def note(*content: Content) -> Markup:
    """A quiet box that says what is missing and why."""
    return tag("p", content, class_="note")


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a percentage: 0.5 is "50.0%"; a dash for what was not measured."""
    return "–" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.{digits}f}%"


def whole_percent(fraction: float | None) -> str:
    """A fraction as a whole percentage: 0.5 is "50%"; a dash for what was not measured."""
    return percent(fraction, digits=0)


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: "1 video", "2,000 videos"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _text(value: Any) -> str:
    """Numbers of drawings with two decimals at most, anything else as it is."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
