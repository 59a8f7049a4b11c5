"""The errors that LSN raises.

Every message says what is wrong, where, what was expected and what to do about it. The command line
prints it as one line and exits with 2; `--debug` shows the traceback.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable


class LSNError(Exception):
    """Base of all errors that a user of LSN can cause and mend."""


class ConfigError(LSNError):
    """A recipe, a flag or an argument has a wrong name or value."""


class FolderInUseError(ConfigError):
    """Another process works in a folder."""


class DataError(LSNError):
    """A manifest or a data set is missing, malformed or inconsistent."""


class VideoError(LSNError):
    """A video cannot be opened, decoded or written."""


class ModelError(LSNError):
    """A model cannot be built or used as asked."""


class WeightsError(LSNError):
    """Weights cannot be found, read, or do not fit the model."""


class TrainingError(LSNError):
    """Training cannot go on."""


class TrainingStopped(LSNError):
    """Training has ended early because it was asked to, and can be resumed."""


def shown(value: object, *, most: int = 80) -> str:
    """A value as an error message shows it: its `repr`, cut in the middle where it is long.

    Of containers no more than the first elements are looked at, since aliases in a YAML file of some hundred bytes can
    stand for a value of gigabytes.
    """
    try:
        text = _REPR.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= most else f"{text[: most - 20]}...{text[-17:]}"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlevel = 3


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Ends an error message: the nearest option if one is near, else all of them.

    Returns `did you mean 'x'?` when an option resembles the name, else `choose from: a, b, c`.
    """
    names = sorted(options)
    near = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.6)  # its time grows with the square of the length
    return f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(names)}"
