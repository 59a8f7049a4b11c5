"""`lsn data check` of clips: what would stop or spoil a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lsn.cli.ui.console import output
from lsn.cli.ui.progress import counting_progress
from lsn.config import DataConfig
from lsn.config.json_files import EVALUATION_NAME
from lsn.errors import DataError
from lsn.files import check_outputs

if TYPE_CHECKING:
    from lsn.data import Manifest, Problem
    from lsn.evaluation.label_doubts import LabelDoubt

RECORD_NAME = "decoded.jsonl"
MAX_DOUBTS = 20
"""Doubted labels that are printed; the report has more."""


@dataclass(frozen=True)
class Reading:
    """How manifests are read."""

    root: str | None
    labels: str | None
    group_column: str | None


def check_clips(
    manifests: tuple[str, ...], reading: Reading, *, decode: bool, doubts: Path | None, out: Path | None
) -> list[Problem]:
    """Checks clips, or two splits of them; prints their numbers, writes the report, and returns what is wrong."""
    from lsn.data.clips.decoding import damage_problems, damaged_clips
    from lsn.data.clips.near_duplicates import near_duplicate_problems, near_duplicates
    from lsn.report.data_check import REPORT_NAME, DataCheck, write_check_report

    checked, problems = _tables(manifests, reading)
    damaged = duplicates = found_doubts = None
    if out is not None:
        check_outputs([out / RECORD_NAME, out / REPORT_NAME], [m for m in manifests if Path(m).is_file()])
        out.mkdir(parents=True, exist_ok=True)
    if decode:
        damaged = []
        for manifest in checked:
            with counting_progress(f"decoding {Path(manifest.source).name}") as progress:
                found = damaged_clips(manifest, record=out and out / RECORD_NAME, progress=progress)
            damaged += found
            problems += damage_problems(found, manifest)
        if len(checked) == 2:
            with counting_progress("comparing pictures") as progress:
                duplicates = near_duplicates(*checked, progress=progress)
            problems += near_duplicate_problems(duplicates, checked[1])
    if doubts is not None:
        found_doubts = _doubts(doubts, checked)
        problems += _doubt_problems(found_doubts, checked)
    for manifest in checked:
        output().print(f"{manifest.source}: {len(manifest)} clips of {len(manifest.labels)} classes")
    if out is not None:
        report = write_check_report(out, DataCheck(checked, problems, damaged, duplicates, found_doubts))
        output().print(f"Report: {report}")
    return problems


def _tables(manifests: tuple[str, ...], reading: Reading) -> tuple[list[Manifest], list[Problem]]:
    """The manifests, and what is wrong with them without a look into the clips."""
    from lsn.data import check_manifest, check_splits, group_problems, parse_manifest

    root, labels, group_column = reading.root, reading.labels, reading.group_column
    if len(manifests) == 1:
        manifest, problems = parse_manifest(manifests[0], root=root, labels=labels, group_column=group_column)
        return [manifest], problems + check_manifest(manifest)
    train, val = manifests
    config = DataConfig(train=train, val=val, root=root, labels=labels, group_column=group_column)
    *checked, problems = check_splits(config, seed=0)
    if not any(problem.severity == "error" for problem in problems):
        with counting_progress("comparing groups") as progress:
            problems += group_problems(*checked, progress=progress)
    return checked, problems


def _doubts(folder: Path, checked: Sequence[Manifest]) -> list[LabelDoubt]:
    """The labels among the checked clips that the predictions in a folder speak against.

    Raises:
        DataError: there are no predictions, or none of these clips.
    """
    from lsn.evaluation.label_doubts import doubted_labels
    from lsn.evaluation.result import load_evaluation
    from lsn.training.loop import TEST_NAME

    folds = sorted(folder.glob("seed*/fold*"))
    folders = [fold / TEST_NAME if (fold / TEST_NAME).exists() else fold for fold in folds] or [folder]
    results = [load_evaluation(each) for each in folders if (each / EVALUATION_NAME).exists()]
    if not results:
        raise DataError(f"{folder}: no evaluation; give a run, an evaluation or a cross-validation (lsn train --folds)")
    clips = [clip for manifest in checked for clip in manifest.clips]
    seen = {(row.clip.file, row.clip.window) for result in results for row in result.rows}
    if seen.isdisjoint((clip.file, clip.window) for clip in clips):
        raise DataError(f"{folder}: its predictions are of other clips than {checked[0].source}; evaluate these")
    return doubted_labels(results, clips)


def _doubt_problems(doubts: Sequence[LabelDoubt], checked: Sequence[Manifest]) -> list[Problem]:
    from lsn.data import Problem

    where = {(c.file, c.window): manifest.where(c) for manifest in checked for c in manifest.clips}
    problems = [
        Problem(
            "warning",
            f"{doubt.clip.path} is {doubt.clip.label!r} ({doubt.probability:.0%}), but the model says "
            f"{doubt.suggested!r} ({doubt.suggested_probability:.0%}); look at it",
            where[doubt.clip.file, doubt.clip.window],
        )
        for doubt in doubts[:MAX_DOUBTS]
    ]
    if len(doubts) > MAX_DOUBTS:
        more = f"{len(doubts) - MAX_DOUBTS} more labels that the model doubts; --out writes a report with pictures"
        problems.append(Problem("warning", more, checked[0].source))
    return problems
