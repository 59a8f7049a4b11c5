"""The command `lsn`: parse, call, print."""

from lsn.cli.app import main

__all__ = ["main"]
