"""Single videos of a report: their sampled frames, and the answer after each frame."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lsn.config import EvaluationConfig
from lsn.data import open_clip
from lsn.errors import VideoError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import PredictionRow
from lsn.models.weights import LoadedModel
from lsn.report.charts import Axes, Series, polyline
from lsn.report.html import Content, Markup, join, note, tag, whole_percent
from lsn.video import VideoReader
from lsn.video.eval_transform import short_side_size

NUM_MISTAKES = 6
NUM_RIGHT = 3
MAX_THUMBNAILS = 16
THUMBNAIL_SHORT_SIDE = 96
MARGIN = 0.04
"""Left of the frames, for the labels of the evidence; a share of the width."""


@dataclass(frozen=True)
class Story:
    """A video with what the model made of it.

    `thumbnails` are JPEG files of the sampled frames numbered `shown`; `probabilities_TK` is the softmax of each
    frame's own logits.
    """

    row: PredictionRow
    labels: Sequence[str]
    shown: Sequence[int]
    thumbnails: Sequence[bytes]
    pts_seconds: Sequence[float]
    probabilities_TK: torch.Tensor


def pick(rows: Sequence[PredictionRow]) -> tuple[list[PredictionRow], list[PredictionRow]]:
    """The worst mistakes (surest of a wrong class, worst first) and the surest right answers, one a class."""
    mistakes = sorted((row for row in rows if not row.correct), key=lambda row: row.label_probability - row.confidence)
    right: dict[str, PredictionRow] = {}
    for row in sorted((row for row in rows if row.correct), key=lambda row: -row.confidence):
        right.setdefault(row.label, row)
    return mistakes[:NUM_MISTAKES], list(right.values())[:NUM_RIGHT]


def thumbnails(video: VideoReader, indices: Sequence[int]) -> tuple[list[int], list[bytes]]:
    """Small JPEG files of at most MAX_THUMBNAILS of a clip's frames, spread over it, and which of them they are."""
    number = min(len(indices), MAX_THUMBNAILS)
    shown = [(2 * i + 1) * len(indices) // (2 * number) for i in range(number)]
    frames_THWC = video.transformed_at([indices[place] for place in shown], _small)
    return shown, [_jpeg(frame_HWC) for frame_HWC in frames_THWC]


def _small(frames_THWC: np.ndarray) -> np.ndarray:
    height, width = short_side_size(*frames_THWC.shape[1:3], short_side=THUMBNAIL_SHORT_SIDE)
    return np.stack([np.asarray(Image.fromarray(frame_HWC).resize((width, height))) for frame_HWC in frames_THWC])


def _jpeg(frame_HWC: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame_HWC).save(file, format="JPEG", quality=82)
    return file.getvalue()


def section(rows: Sequence[PredictionRow], loaded: LoadedModel) -> Markup:
    """The worst mistakes and some right answers; videos that cannot be read any more are said."""
    mistakes, right = pick(rows)

    def cards(rows: Sequence[PredictionRow]) -> Iterator[Content]:
        for row in rows:
            try:
                yield story_card(story_of(row, loaded))
            except VideoError as error:
                yield note(f"Not shown, because the video cannot be read: {error}")

    lead = (
        "The frames that the model was given, in order, and under each the probabilities that this frame gives; the "
        "verdict averages over the frames. With a memory, a frame speaks for all that came before it."
    )
    return join(
        [
            tag("p", lead, class_="lead"),
            tag("h3", "The worst mistakes, surest first" if mistakes else "There was no mistake"),
            cards(mistakes),
            tag("h3", "Right, and sure of it" if right else "Nothing was right"),
            cards(right),
        ]
    )


def story_of(row: PredictionRow, loaded: LoadedModel) -> Story:
    """Runs the model on the central clip of a video, read with the default reader: all give the same frames.

    Raises:
        VideoError: the video cannot be read.
    """
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig())
    with open_clip(row.clip) as video:
        views = protocol.read(video)
        shown, files = thumbnails(video, protocol.indices(video))
    with torch.inference_mode():
        (logits_TK,) = loaded.model.forward_frames(torch.from_numpy(views.views_VTCHW))
    return Story(row, loaded.labels, shown, files, views.pts_seconds.tolist(), logits_TK.softmax(-1))


def story_card(story: Story) -> Markup:
    """A video: verdict, strip of frames, and under each frame the evidence it gave."""
    row = story.row
    kind = "good" if row.correct else "bad"
    verdict = (
        tag("span", row.label, class_="good")
        if row.correct
        else (tag("span", row.predicted, class_="bad"), " instead of ", tag("span", row.label, class_="good"))
    )
    sure = whole_percent(row.confidence)
    odds = f"{sure} sure" if row.correct else f"{sure} sure, {whole_percent(row.label_probability)} for the true class"
    images = [
        tag(
            "img",
            src="data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"),
            alt=f"frame at {story.pts_seconds[index]:.2f} s",
            title=f"{story.pts_seconds[index]:.2f} s",
        )
        for index, jpeg in zip(story.shown, story.thumbnails, strict=True)
    ]
    lines = evidence_lines(story)
    return tag(
        "article",
        tag(
            "header",
            tag("h3", verdict),
            tag("small", odds),
            tag("span", _short(row.path), class_="path", title=row.path),
        ),
        tag(
            "p",
            (tag("span", tag("i", class_=f"key {line.color}"), line.name) for line in reversed(lines)),
            class_="legend",
        ),
        tag(
            "div",
            tag(
                "div",
                tag("div", images, class_="strip", style=f"padding-left:{100 * MARGIN:g}%"),
                _evidence(story, lines),
                class_="film",
            ),
            class_="scroll",
        ),
        class_=f"card case {kind}",
    )


def evidence_lines(story: Story) -> list[Series]:
    """Evidence over the frames for the true class, the predicted one, and the next that some frame spoke for."""
    row, labels = story.row, list(story.labels)
    true, predicted = labels.index(row.label), labels.index(row.predicted)
    others = [index for index in range(len(labels)) if index not in (true, predicted)]
    chosen = [] if row.correct else [(predicted, "bad", "predicted")]
    if others:
        third = max(others, key=lambda index: float(story.probabilities_TK[:, index].max()))
        chosen.insert(0, (third, "third", "next best"))
    chosen.append((true, "good", "true"))
    return [
        Series(
            f"{role}: {labels[index]}", list(enumerate(story.probabilities_TK[:, index].tolist())), color, markers=True
        )
        for index, color, role in chosen
    ]


def _evidence(story: Story, lines: Sequence[Series]) -> Markup:
    """The lines, each point under the middle of its frame when all frames are shown."""
    num_frames = len(story.pts_seconds)
    axes = Axes((-0.5, num_frames - 0.5), (0.0, 1.0), width=960, height=160, left=MARGIN * 960, right=0, bottom=20)
    every = max(1, -(-num_frames // MAX_THUMBNAILS))
    return axes.draw(
        [polyline(axes, line) for line in lines],
        x_ticks=[(index, f"{story.pts_seconds[index]:.1f} s") for index in range(0, num_frames, every)],
        y_ticks=[(0.0, "0%"), (0.5, "50%"), (1.0, "100%")],
        x_label="",
        description="Probability of each class by frame",
    )


def _short(path: str) -> str:
    """The file's name with its folder, which often is the class."""
    return "/".join(Path(path).parts[-2:])
