"""The report of a cross-validation: one page over all folds and seeds."""

from __future__ import annotations

from pathlib import Path

from lsn.config import RunConfig
from lsn.evaluation.cross_validation import MIN_GROUP_CLIPS, CrossValidation, GroupAccuracy
from lsn.files import write_text
from lsn.report import overview, results
from lsn.report.html import Content, Markup, count, figure, note, percent, table, tag, whole_percent
from lsn.report.page import Section, page, titled
from lsn.report.table import describe_protocol

REPORT_NAME = "report.html"


def write_cross_validation_report(folder: str | Path, found: CrossValidation, config: RunConfig) -> Path:
    """Writes `report.html` over all folds and seeds.

    Args:
        folder: Where it goes; the runs are in `seed*/fold*` of it.
        found: What the runs found.
        config: Their settings, but for clips and seed.

    Returns:
        The path of the report.
    """
    folder = Path(folder)
    together = found.together()
    name = f"{config.model.name}, {found.num_folds} folds"
    confusion, labels = together.confusion.tolist(), together.labels
    low, high = found.interval
    videos = f"each tested once for each of {count(len(found.seeds), 'seed')}"
    over = "groups" if found.has_groups else "clips"
    remark = f"95% interval {whole_percent(low)} to {whole_percent(high)}, over {over}"
    tiles = overview.clip_tiles(together, num_videos=found.num_clips, top1_remark=remark, videos_remark=videos)
    what = tag("p", describe_protocol(config, num_folds=found.num_folds), class_="lead")
    sections: list[Section] = [
        ("result", "Result", titled("Result", overview.tile_row(tiles), what)),
        ("folds", "Folds", titled("Folds and seeds", _folds(found))),
        ("groups", "Groups", titled("Accuracy of each group", _groups(found.groups(), has_groups=found.has_groups))),
        ("confusion", "Confusion", titled("Confusion", results.confusion_figures(confusion, labels))),
        ("classes", "Classes", titled("Accuracy of each class", results.class_accuracy(confusion, labels))),
        ("calibration", "Calibration", titled("Calibration", results.calibration(together), _calibrated(found))),
        ("unreadable", "Unreadable", titled("Unreadable clips", _unreadable(found))),
    ]
    path = folder / REPORT_NAME
    summary = overview.summary(name, together, num_videos=found.num_clips)
    write_text(path, page(f"{name} · LSN report", summary, sections, folder))
    return path


def _unreadable(found: CrossValidation) -> Content:
    if not found.unreadable:
        return tag("p", "None: every clip could be read.", class_="lead")
    return figure(
        table(("Clip", "Why"), list(found.unreadable.items()), class_="wide"),
        caption=f"{count(len(found.unreadable), 'clip')} left out of the figures above.",
    )


def _calibrated(found: CrossValidation) -> Content:
    """The same at the temperatures that fit the other folds."""
    text = (
        "The same with temperature scaling: the logits of each fold are divided by the temperature that makes the "
        "probabilities of the other folds right, where that helps. No answer changes."
    )
    return tag("p", text, class_="lead"), results.calibration(found.together(calibrated=True))


def _folds(found: CrossValidation) -> Markup:
    """Top-1 of every run, with a link to its own report."""
    rows: list[list[Content]] = []
    for seed in found.seeds:
        runs = [found.results[seed, fold].metrics.top1 for fold in range(found.num_folds)]
        links = [tag("a", percent(top1), href=f"seed{seed}/fold{fold}/{REPORT_NAME}") for fold, top1 in enumerate(runs)]
        rows.append([seed, *links, tag("b", percent(found.of_seed(seed).metrics.top1))])
    header = ["Seed", *(f"Fold {fold + 1}" for fold in range(found.num_folds)), "All clips"]
    caption = "Top-1. Folds differ in their clips, rows in the seed of the training alone; a figure leads to its run."
    return figure(table(header, rows, numeric=range(1, len(header))), caption=caption)


def _groups(groups: list[GroupAccuracy], *, has_groups: bool) -> Markup:
    """A bar per group, the worst first."""
    if not has_groups:
        return note("No groups are known (data.group_column), so every clip is one of its own.")
    entries = [(group.accuracy, group.name, group.num_clips) for group in groups]
    caption = (
        "Share of each group's clips that were recognised by models that had seen no clip of it, mean over the seeds. "
        f"Groups of fewer than {MIN_GROUP_CLIPS} clips say little."
    )
    bars = (results.bar_row(name, accuracy, count(number, "clip")) for accuracy, name, number in entries)
    width = f"--name: {max(len(name) for _, name, _ in entries) + 1}ch"
    return figure(tag("div", bars, class_="bars", style=width), caption=caption)
