"""What the commands print with: plain text and tables, the same on a terminal and in a pipe."""

from __future__ import annotations

import os

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 1000
"""Columns where there is no terminal, so that lines are not broken for a program that reads them."""


def is_main_process() -> bool:
    """Whether this process is the one that prints; under torchrun only the first does."""
    return os.environ.get("RANK", "0") == "0"


def output() -> Console:
    """The console of results, on standard output."""
    console = Console(markup=False, emoji=False, highlight=False, quiet=not is_main_process())
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


def error_line(text: str, *, style: str = "red") -> None:
    """Prints a line on standard error (several, for a list of problems); every process may speak."""
    rank = f" [rank {os.environ['RANK']}]" if "RANK" in os.environ else ""
    line = Text(f"lsn{rank}: ", style=f"bold {style}").append(text, style="default")
    Console(stderr=True).print(line, soft_wrap=True)


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
