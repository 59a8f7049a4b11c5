"""How soon a model knows, printed after its evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsn.cli.ui.console import columns, output

if TYPE_CHECKING:
    from lsn.evaluation.anytime import Anytime


def print_anytime(anytime: Anytime) -> None:
    """Prints the accuracy over the frames, the time of decision and the early stop."""
    from lsn.report.anytime import STOP_HEADER, TOP1_HEADER, decision_text, stop_cells, stop_text, top1_cells

    console = output()
    console.print("\nHow soon it knows", end="")
    for header, rows, text in (
        (TOP1_HEADER, top1_cells(anytime), decision_text(anytime)),
        (STOP_HEADER, stop_cells(anytime), stop_text(anytime.early_exit)),
    ):
        console.print()
        table = columns(*header, right=header if header is TOP1_HEADER else header[1:])
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print(text)
