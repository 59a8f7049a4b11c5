"""A page of sections: one HTML file that needs no other and no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template

import lsn
from lsn.report.html import Content, Markup, join, tag

Section = tuple[str, str, Content]
"""Identifier, name in the navigation, and content."""


def page(title: str, summary: Markup, sections: Sequence[Section], source: Path, *, script: str | None = None) -> str:
    """The whole page.

    Args:
        title: Of the browser's tab.
        summary: The line that stays in sight.
        sections: In reading order.
        source: Folder that it is written from.
        script: Name of a file beside this one that brings it to life.
    """
    text = Template(_asset("page.html")).substitute(
        version=lsn.__version__,
        title=join(title),
        style=_asset("page.css"),
        summary=summary,
        navigation=join(tag("a", short, href=f"#{key}") for key, short, _ in sections),
        sections=join(tag("section", content, id=key) for key, _, content in sections),
        script=Markup(f"<script>\n{_asset(script)}</script>") if script else "",
        footer=join(f"Written by LSN {lsn.__version__} on {datetime.now():%d %B %Y} from {source.resolve()}"),
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # names of files need not be valid Unicode


def titled(title: str, *content: Content) -> Markup:
    """The content of a section under its title."""
    return Markup(tag("h2", title) + join(content))


def _asset(name: str) -> str:
    return files("lsn.report").joinpath(name).read_text(encoding="utf-8")
