"""Evaluations written by hand."""

import base64
import io
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import torch
from PIL import Image

from lsn.data import Clip
from lsn.evaluation.anytime import Anytime, measure_anytime
from lsn.evaluation.metrics import Metrics
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import EvaluationResult, PredictionRow
from lsn.evaluation.running import CumulativePredictions, cumulative_scores
from lsn.scores import log_softmax

PROTOCOL = EvaluationProtocol(
    num_frames=4,
    size=32,
    short_side=32,
    sampling="segments",
    frame_stride=1,
    num_clips=1,
    num_crops=1,
    average="logits",
    batch_size=8,
)
VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Checks nesting, and collects ids, addresses, elements and the text that is shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        self.ids += [value for key, value in attributes if key == "id" and value]
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"] and self.open[-1:] != ["script"]:
            self.text += data

    def images(self) -> list[Image.Image]:
        sources = [attributes["src"] or "" for name, attributes in self.elements if name == "img"]
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        return [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]


def prediction(
    label: str, predicted: str, confidence: float, probability: float | None = None, *, path: str = "v.mp4"
) -> PredictionRow:
    """A row; the probability of the label is the confidence if the prediction is right, and otherwise 0.05."""
    if probability is None:
        probability = confidence if label == predicted else 0.05
    return PredictionRow(Clip(path, label), predicted, confidence, probability, (predicted,))


def evaluation(
    labels: Sequence[str], rows: Sequence[PredictionRow], unreadable: Sequence[tuple[str, str]] = ()
) -> EvaluationResult:
    """What an evaluation with these rows would have found, with a calibration error of 0.125."""
    confusion = torch.zeros(len(labels), len(labels), dtype=torch.int64)
    for row in rows:
        confusion[labels.index(row.label), labels.index(row.predicted)] += 1
    right = sum(row.correct for row in rows) / max(1, len(rows))
    empty = tuple(label for label, total in zip(labels, confusion.sum(1), strict=True) if not total)
    return EvaluationResult(
        source="test.csv",
        protocol=PROTOCOL,
        labels=tuple(labels),
        metrics=Metrics(len(rows), right, 1.0, right, 0.125, 0.7, empty),
        confusion=confusion,
        rows=tuple(rows),
        unreadable=tuple(unreadable),
    )


def anytime(*, wanted_top1: float | None = None) -> Anytime:
    """How soon a model knows that is surer and righter with each of 8 frames of 60 videos, and wrong on some."""
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.arange(60) % 3
    logits_NTK = torch.randn(60, 8, 3, generator=generator)
    believed_N = torch.where(torch.arange(60) % 10 == 0, (labels_N + 1) % 3, labels_N)
    logits_NTK[torch.arange(60), :, believed_N] += torch.linspace(0, 6, 8)
    log_probabilities_NTK = torch.from_numpy(
        cumulative_scores(logits_NTK[:, None].numpy(), lambda x_NVK: log_softmax(x_NVK[:, 0]), readout_frames=None)
    )
    seconds_NT = torch.linspace(0.1, 1.5, 8, dtype=torch.float64).expand(60, 8)
    return measure_anytime(
        CumulativePredictions.of(log_probabilities_NTK, seconds_NT), labels_N, wanted_top1=wanted_top1
    )
