"""The report of a run: one HTML file that needs no other and no network."""

from lsn.report.write import write_report

__all__ = ["write_report"]
