"""What the commands print with: plain text and tables, the same on a terminal and in a pipe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 1000
"""Columns where there is no terminal, so that lines are not broken for a program that reads them."""


# What a terminal takes for commands (C0 but for tab and line feed, DEL, C1), and what turns the direction of text.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with a sign in the place of every character that would command the terminal, such as ESC as ␛."""
    return _UNSAFE.sub(lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", text)


class SafeConsole(Console):
    """A console on which labels and names of files, whatever they hold, are seen and not obeyed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields the segments of what is printed; those of rich itself may command the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def is_main_process() -> bool:
    """Whether this process is the one that prints; under torchrun only the first does."""
    return os.environ.get("RANK", "0") == "0"


def plain_console(**options: Any) -> Console:
    """A console that prints text as it is, in the main process only.

    Args:
        options: of rich's Console.
    """
    return SafeConsole(markup=False, emoji=False, highlight=False, quiet=not is_main_process(), **options)


def output() -> Console:
    """The console of results, on standard output."""
    console = plain_console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


def error_line(text: str, *, style: str = "red") -> None:
    """Prints a line on standard error (several, for a list of problems); every process may speak."""
    rank = f" [rank {os.environ['RANK']}]" if "RANK" in os.environ else ""
    line = Text(f"lsn{rank}: ", style=f"bold {style}").append(text, style="default")
    SafeConsole(stderr=True).print(line, soft_wrap=True)


def columns(*headers: str, right: tuple[str, ...] = ()) -> Table:
    """An open table; the columns named in `right` are numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    return table


def percent(fraction: float) -> str:
    """A fraction as a percentage with one digit."""
    return f"{100 * fraction:.1f}%"


def format_bytes(num_bytes: int) -> str:
    """Bytes with three digits and the fitting unit, such as 803 kB."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= 0.9995 * limit:  # what would be rounded up to 1000 of the smaller unit
            return f"{num_bytes / limit:#.3g} {unit}".replace(". ", " ")
    return f"{num_bytes} B"


def bar(fraction: float, width: int = 24) -> str:
    """A horizontal bar, in eighths of a character."""
    whole, eighths = divmod(round(max(0.0, min(1.0, fraction)) * width * 8), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()
