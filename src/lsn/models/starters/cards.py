"""Which starter weights there are, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lsn.config.json_files import STARTER_PREFIX
from lsn.errors import WeightsError, did_you_mean


@dataclass(frozen=True)
class StarterCard:
    """What people should know of starter weights."""

    what: str
    """What they find, in a few words."""
    recipe: str
    """What they were trained by."""
    data: str
    """The command that writes what they were trained on."""
    measured: tuple[tuple[str, str], ...]
    """What was measured on which videos."""


STARTERS = {
    "motion": StarterCard(
        what="ten motions of drawn objects, with their reversals: to try things out",
        recipe="motion_timeline",
        data="lsn data synthesize runs/data/timeline --kind timeline",
        measured=(
            ("40 synthetic videos of another seed", "279 of 282 motions found, F1@50 98.8%, 0.2 false a minute"),
        ),
    ),
    "gestures": StarterCard(
        what="ten gestures of a hand that is seen from the wearer's head (EgoGestAR's)",
        recipe="gesture_timeline_pretrain",
        data="lsn data synthesize runs/data/gesture_timeline --kind gesture_timeline --num-train 500 --num-val 24 "
        "--size 96",
        measured=(
            ("real clips (EgoGestAR, val.csv)", "19 of 36 named right"),
            ("these clips in long videos", "45 of 108 gestures found, F1@25 52.9%, 1.6 false a minute"),
            ("the same after a training on 96 other real clips", "93 of 108 found, F1@25 91.6%, 0.2 false a minute"),
        ),
    ),
}


def is_starter(name: str | Path) -> bool:
    """Whether a name is that of starter weights, there or not."""
    return str(name).startswith(STARTER_PREFIX)


def starter_folder(name: str | Path) -> Path:
    """The weights folder behind `starter:NAME`.

    Raises:
        WeightsError: there are no such starter weights.
    """
    key = str(name).removeprefix(STARTER_PREFIX)
    if key not in STARTERS:
        known = [f"{STARTER_PREFIX}{each}" for each in STARTERS]
        raise WeightsError(f"no starter weights are called {str(name)!r}; {did_you_mean(str(name), known)}")
    return Path(str(files("lsn.models.starters").joinpath(key)))
