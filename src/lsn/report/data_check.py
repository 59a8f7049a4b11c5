"""The report of `lsn data check`: what is wrong with the clips, with pictures where pictures say it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsn.data import Clip, Manifest, Problem, open_clip
from lsn.data.clips.decoding import DamagedClip
from lsn.data.clips.near_duplicates import NearDuplicate
from lsn.errors import VideoError
from lsn.evaluation.label_doubts import LabelDoubt
from lsn.files import write_text
from lsn.report.cases import thumbnails
from lsn.report.html import Content, Markup, count, figure, join, note, table, tag, whole_percent
from lsn.report.overview import tile_row
from lsn.report.page import Section, page, titled

REPORT_NAME = "check.html"
MAX_PICTURED = 60
"""Doubted labels, and pairs of clips, whose pictures are shown."""
_NUM_FRAMES = 8


@dataclass(frozen=True)
class DataCheck:
    """What was found in one manifest or two."""

    manifests: Sequence[Manifest]
    problems: Sequence[Problem]
    """All of them, also those that have sections of their own."""
    damaged: Sequence[DamagedClip] | None = None
    """None if clips were not decoded."""
    duplicates: Sequence[NearDuplicate] | None = None
    """None if pictures were not compared."""
    doubts: Sequence[LabelDoubt] | None = None
    """None if there were no predictions to doubt labels by."""


def write_check_report(folder: str | Path, found: DataCheck) -> Path:
    """Writes `check.html`: one file that needs no other and no network.

    Returns:
        The path of the report.
    """
    path = Path(folder) / REPORT_NAME
    names = " and ".join(Path(manifest.source).name for manifest in found.manifests)
    where = {clip: manifest.where(clip) for manifest in found.manifests for clip in manifest.clips}
    num_clips = len(where)
    summary = join([tag("strong", names), f" {count(num_clips, 'clip')}, {count(len(found.problems), 'problem')}"])
    sections: list[Section] = [("found", "Found", titled("What was found", _tiles(found), _problems(found)))]
    if found.damaged is not None:
        sections.append(("damaged", "Damaged", titled("Clips that cannot be decoded", _damaged(found.damaged, where))))
    if found.duplicates is not None:
        sections.append(("duplicates", "Duplicates", titled("Clips that look the same", _duplicates(found.duplicates))))
    if found.doubts is not None:
        sections.append(("labels", "Labels", titled("Labels that the model doubts", _doubts(found.doubts, where))))
    write_text(path, page(f"{names} · LSN data check", summary, sections, Path(folder)))
    return path


def _tiles(found: DataCheck) -> Markup:
    def number(of: Sequence[object] | None) -> str:
        return "–" if of is None else str(len(of))

    errors = sum(problem.severity == "error" for problem in found.problems)
    return tile_row(
        [
            ("Errors", str(errors), f"and {count(len(found.problems) - errors, 'warning')}"),
            ("Damaged clips", number(found.damaged), "" if found.damaged is not None else "not decoded: --decode"),
            ("Near-duplicates", number(found.duplicates), "" if found.duplicates is not None else "not compared"),
            ("Doubted labels", number(found.doubts), "" if found.doubts is not None else "no predictions: --doubts"),
        ]
    )


def _problems(found: DataCheck) -> Content:
    if not found.problems:
        return tag("p", "No problems.", class_="lead")
    rows = sorted((problem.severity, problem.where, problem.message) for problem in found.problems)
    cells = [(where, join([tag("strong", severity), f" {message}"])) for severity, where, message in rows]
    return figure(table(("Where", "What"), cells, class_="wide"), caption="All problems, errors first.")


def _damaged(damaged: Sequence[DamagedClip], where: Mapping[Clip, str]) -> Content:
    if not damaged:
        return tag("p", "None: every clip was decoded to its last frame.", class_="lead")
    rows = [(where[each.clip], each.clip.label, each.error) for each in damaged]
    return figure(
        table(("Where", "Label", "Why"), rows, class_="wide"),
        caption="Fetch or write these files again, or take them out of the list.",
    )


def _duplicates(duplicates: Sequence[NearDuplicate]) -> Content:
    if not duplicates:
        return tag("p", "None of the clips looks like one that is trained on.", class_="lead")

    def cards() -> Iterator[Content]:
        for each in duplicates[:MAX_PICTURED]:
            yield _card(each.clip.label, "", [("validated on", each.clip), ("trained on", each.twin)])

    return join([tag("p", "One of each pair should go.", class_="lead"), cards(), _rest(len(duplicates))])


def _doubts(doubts: Sequence[LabelDoubt], where: Mapping[Clip, str]) -> Content:
    if not doubts:
        return tag("p", "None: the model is sure of no other class for any clip.", class_="lead")
    lead = (
        "The model, which must not have been trained on these clips, is surer of another class than it is, on average, "
        "of that class's own clips (confident learning). Either the label is wrong or the model is: look."
    )

    def cards() -> Iterator[Content]:
        for each in doubts[:MAX_PICTURED]:
            given, suggested = tag("span", each.clip.label, class_="bad"), tag("span", each.suggested, class_="good")
            odds = f"{whole_percent(each.probability)} and {whole_percent(each.suggested_probability)}"
            yield _card((given, " or ", suggested, "?"), odds, [(where[each.clip], each.clip)])

    return join([tag("p", lead, class_="lead"), cards(), _rest(len(doubts))])


def _rest(number: int) -> Content:
    return note(f"{number - MAX_PICTURED} more are not shown.") if number > MAX_PICTURED else None


def _card(title: Content, remark: str, clips: Sequence[tuple[str, Clip]]) -> Markup:
    return tag(
        "article",
        tag("header", tag("h3", title), tag("small", remark)),
        ((tag("p", f"{what} ", tag("span", clip.path, class_="path")), _strip(clip)) for what, clip in clips),
        class_="card case",
    )


def _strip(clip: Clip) -> Markup:
    try:
        with open_clip(clip) as video:
            number = min(_NUM_FRAMES, video.num_frames)
            frames = [(2 * i + 1) * video.num_frames // (2 * number) for i in range(number)]
            _, files = thumbnails(video, frames)
    except VideoError as error:
        return note(f"Not shown, because the clip cannot be read: {error}")
    images = (
        tag("img", src="data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"), alt=f"frame {number}")
        for number, jpeg in zip(frames, files, strict=True)
    )
    return tag("div", tag("div", images, class_="strip"), class_="scroll")
