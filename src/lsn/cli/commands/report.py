"""`lsn report`: the page of a run, written again."""

from __future__ import annotations

from pathlib import Path

from lsn.cli.ui.console import output


def report(run: Path, /, *, weights: Path | None = None) -> None:
    """Write report.html of a run again.

    Parameters
    ----------
    run
        Folder of a run, as `lsn train` leaves it, or that `lsn evaluate --out` wrote.
    weights
        Folder of the weights, where they are not in that of the run.
    """
    from lsn.report.write import write_report

    output().print(f"Report: {write_report(run, weights=weights)}")
